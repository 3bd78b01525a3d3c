// Changes of which nobody can say whether they were made: a commit, or the sync behind a rename, that the disk refused.
// What reached it is known at the next start only, and their journal row stays open for it, as after a crash.
// Thread: any.
#pragma once

#include <string_view>

#include "core/base/error.hpp"

namespace via::lifecycle {

inline constexpr std::string_view kOutcomeUnknown = "outcome_unknown";

inline bool is_unknown(const Error& error) { return error.name == kOutcomeUnknown; }

// For a failure behind the point from which the change may stand: the caller must look before asking again.
inline Error unknown(Error error) {
  error.code = Code::internal;
  error.details.clear();
  error.name = kOutcomeUnknown;
  return error;
}

// Of a transaction that was to begin a change: what a full disk refused was not begun.
inline Error uncommitted(Error error) { return error.code == Code::disk_full ? error : unknown(std::move(error)); }

}  // namespace via::lifecycle
