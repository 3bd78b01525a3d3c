// Lists of cases in tests/fixtures: lines of columns between " | ", '#' begins a comment.
#pragma once

#include <fstream>
#include <string>
#include <vector>

namespace via::test {

inline std::vector<std::string> split(const std::string& text, const std::string& by) {
  std::vector<std::string> out;
  for (std::size_t at = 0;;) {
    const std::size_t end = text.find(by, at);
    out.push_back(text.substr(at, end - at));
    if (end == std::string::npos) return out;
    at = end + by.size();
  }
}

inline std::vector<std::vector<std::string>> table(const std::string& file) {
  std::vector<std::vector<std::string>> out;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);)
    if (!line.empty() && line[0] != '#') out.push_back(split(line, " | "));
  return out;
}

// {{N*x}} is x, N times.
inline std::string expanded(std::string text) {
  for (std::size_t open; (open = text.find("{{")) != std::string::npos;) {
    const std::size_t star = text.find('*', open), close = text.find("}}", star);
    std::string repeated;
    for (int n = std::stoi(text.substr(open + 2)); n > 0; --n)
      repeated += text.substr(star + 1, close - star - 1);
    text.replace(open, close + 2 - open, repeated);
  }
  return text;
}

inline std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

}  // namespace via::test
