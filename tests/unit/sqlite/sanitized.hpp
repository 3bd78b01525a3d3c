// Whether the tests run under a sanitizer. Where every access is looked at, a statement that comes to its limit at once may be stopped
// by its deadline first.
#pragma once

namespace via::sqlite::test {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

}  // namespace via::sqlite::test
