// A connection: reads requests under limits, hands them to a handler one at a time, writes the answers.
//
// Pipelined requests are answered in order and their answers leave in one send. One coarse sweep per thread enforces
// every time limit (IoThread::sweep), so no request makes a timer. Thread: its I/O thread; a strand is not needed.
#pragma once

#include <memory>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/ssl/context.hpp>

#include "core/net/exchange.hpp"
#include "core/net/io_thread.hpp"

namespace via::net {

// Called on the thread's context with a socket that was accepted there. `slot` is released when the connection ends.
void start_session(IoThread& thread, Handler& handler, boost::asio::ip::tcp::socket socket, std::shared_ptr<void> slot);
void start_session(IoThread& thread, Handler& handler, boost::asio::ip::tcp::socket socket,
                   boost::asio::ssl::context& tls, std::shared_ptr<void> slot);
void start_session(IoThread& thread, Handler& handler, boost::asio::local::stream_protocol::socket socket, Peer peer,
                   std::shared_ptr<void> slot);

}  // namespace via::net
