// The transport: what is written to the socket, what is made of the answer, and which way is chosen.
#include <gtest/gtest.h>

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "cli/admin_client.hpp"
#include "core/base/files.hpp"

namespace via::cli {
namespace {

class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "via_cli_XXXXXX").string();
    path = ::mkdtemp(name.data());
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::filesystem::path path;
};

FileHandle listen_at(const std::filesystem::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  FileHandle fd(::socket(AF_UNIX, SOCK_STREAM, 0));
  EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(::listen(fd.get(), 4), 0);
  return fd;
}

// Answers one connection and returns what it was asked.
std::string answer_once(int listener, const std::string& response, bool read_all = true) {
  FileHandle client(::accept(listener, nullptr, nullptr));
  std::string asked;
  char buffer[4096];
  while (read_all) {
    const auto head = asked.find("\r\n\r\n");
    if (head != std::string::npos) {
      const auto at = asked.find("Content-Length: ");
      if (asked.size() >= head + 4 + std::stoul(asked.substr(at + 16))) break;
    }
    const ssize_t n = ::recv(client.get(), buffer, sizeof buffer, 0);
    if (n <= 0) break;
    asked.append(buffer, static_cast<std::size_t>(n));
  }
  ::send(client.get(), response.data(), response.size(), MSG_NOSIGNAL);
  return asked;
}

TEST(SocketTransport, SendsOneRequestAndReadsTheAnswer) {
  Folder folder;
  const FileHandle listener = listen_at(folder.path / "admin.sock");
  std::string asked;
  std::thread server([&] {
    asked = answer_once(listener.get(), "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{\"a\":\"b\" }\nrest");
  });
  SocketTransport transport(folder.path / "admin.sock");
  const auto answer = transport.call("app.create", {{"name", "api"}});
  server.join();
  ASSERT_TRUE(answer.has_value()) << answer.error().message;
  EXPECT_EQ((*answer)["a"], "b");
  EXPECT_TRUE(asked.starts_with("POST /v1/admin/app.create HTTP/1.1\r\nHost: via\r\n")) << asked;
  EXPECT_NE(asked.find("Connection: close\r\n"), std::string::npos);
  EXPECT_TRUE(asked.ends_with("\r\n\r\n{\"name\":\"api\"}"));
}

TEST(SocketTransport, ReportsAServerThatDies) {
  Folder folder;
  const FileHandle listener = listen_at(folder.path / "admin.sock");
  for (const char* partial : {"", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"}) {
    std::thread server([&] { answer_once(listener.get(), partial); });
    const auto answer = SocketTransport(folder.path / "admin.sock").call("status", nlohmann::json::object());
    server.join();
    ASSERT_FALSE(answer.has_value());
    EXPECT_EQ(answer.error().code, Code::unavailable);
  }
}

TEST(Responses, AreReadChunkedToo) {
  const auto answer = parse_admin_response(
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\n{\"a\r\n4\r\n\":1}\r\n0\r\n\r\n");
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ((*answer)["a"], 1);
  EXPECT_FALSE(
      parse_admin_response("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"a").has_value());
  EXPECT_FALSE(
      parse_admin_response("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n").has_value());
}

TEST(Responses, ThatAreNoneAreErrors) {
  for (const char* text :
       {"", "hello", "HTTP/1.1 200", "SSH-2.0-x\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nnot json",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}"}) {
    EXPECT_FALSE(parse_admin_response(text).has_value()) << text;
  }
}

TEST(Responses, ErrorsKeepCodeMessageAndDetails) {
  const auto answer = parse_admin_response(
      "HTTP/1.1 409 Conflict\r\n\r\n"
      R"({"error":{"code":"refused","message":"It is bound.","request_id":"req_1","bindings":["DATABASE"]}})");
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().code, Code::refused);
  EXPECT_EQ(answer.error().message, "It is bound.");
  EXPECT_NE(answer.error().details.find(R"("bindings":["DATABASE"])"), std::string::npos);
}

TEST(Responses, AnUnknownCodeMeansWhatItsStatusMeans) {
  const std::pair<int, int> cases[] = {{400, 2}, {403, 5}, {404, 3}, {409, 4}, {500, 1}, {503, 1}, {504, 6}};
  for (const auto& [status, exit_code] : cases) {
    const auto answer =
        parse_admin_response("HTTP/1.1 " + std::to_string(status) +
                             " X\r\n\r\n{\"error\":{\"code\":\"plugin_said\",\"message\":\"m\"}}");
    ASSERT_FALSE(answer.has_value());
    EXPECT_EQ(answer.error().exit_code(), exit_code) << status;
    EXPECT_EQ(answer.error().wire_name(), "plugin_said");
  }
}

class Nothing final : public AdminTransport {
 public:
  Result<nlohmann::json> call(std::string_view, const nlohmann::json&) override {
    return succeed("in process");
  }
};

TEST(OpenAdmin, PrefersARunningServer) {
  Folder folder;
  int in_process = 0;
  const auto opener = [&](const std::filesystem::path&, bool) {
    ++in_process;
    return Result<std::unique_ptr<AdminTransport>>(std::make_unique<Nothing>());
  };
  EXPECT_TRUE(open_admin(folder.path, false, opener).has_value());
  EXPECT_EQ(in_process, 1);
  {
    const FileHandle listener = listen_at(folder.path / "admin.sock");
    EXPECT_TRUE(open_admin(folder.path, false, opener).has_value());
    EXPECT_EQ(in_process, 1);
  }
  // The file of a server that crashed is no server.
  EXPECT_TRUE(std::filesystem::exists(folder.path / "admin.sock"));
  EXPECT_TRUE(open_admin(folder.path, false, opener).has_value());
  EXPECT_EQ(in_process, 2);
}

TEST(OpenAdmin, LooksAgainWhenAServerTookTheLockMeanwhile) {
  Folder folder;
  FileHandle listener;
  const auto opener = [&](const std::filesystem::path&, bool) -> Result<std::unique_ptr<AdminTransport>> {
    listener = listen_at(folder.path / "admin.sock");
    return fail(Code::conflict, "another process has it");
  };
  EXPECT_TRUE(open_admin(folder.path, false, opener).has_value());
}

TEST(OpenAdmin, SaysWhenTheLockIsHeldAndNobodyListens) {
  Folder folder;
  const auto opener = [](const std::filesystem::path&, bool) -> Result<std::unique_ptr<AdminTransport>> {
    return fail(Code::conflict, "another process has it");
  };
  const auto opened = open_admin(folder.path, false, opener);
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error().exit_code(), 4);
}

}  // namespace
}  // namespace via::cli
