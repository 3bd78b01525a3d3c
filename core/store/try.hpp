// Passing an Error on without a line of ceremony per call.
#pragma once

// Returns the error of `expr` from the enclosing function when it failed.
#define VIA_TRY(expr)                                            \
  do {                                                           \
    if (auto via_try_result_ = (expr); !via_try_result_)         \
      return via_try_result_.error();                            \
  } while (false)

// Names the value of `expr`, or returns its error: VIA_TRY_LET(app, apps.find(name));
#define VIA_TRY_LET(name, expr)                          \
  auto name##_result_ = (expr);                          \
  if (!name##_result_) return name##_result_.error();    \
  [[maybe_unused]] auto& name = *name##_result_
