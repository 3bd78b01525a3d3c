// Long commands: the host is asked to begin, and the operation is followed until it has ended, with a progress line on a
// terminal. Thread: one; blocks.
#pragma once

#include <string>
#include <string_view>

#include "cli/command.hpp"

namespace via::cli {

inline constexpr std::string_view kInterrupted = "interrupted";

// The result of the operation, or its error as if the command itself had failed with it. With `no_wait` what the host
// answered when it began; in process it is followed anyway, because it would end with this process.
Result<Json> follow(Session& session, AdminTransport& admin, const std::string& command, Json request, bool no_wait);
// Ctrl-C ends the waiting and not the operation: the error's name is kInterrupted then. In process it asks the operation
// to stop, and waits for its end.
// The same of an operation that runs already.
Result<Json> follow_operation(Session& session, AdminTransport& admin, const std::string& operation);

// "1.5 GiB"
std::string size_text(std::uint64_t bytes);
// One line of at most `width` columns: what is done, a bar, bytes, rate.
std::string progress_line(const std::string& step, std::uint64_t done, std::uint64_t total, double seconds, int width);

}  // namespace via::cli
