#include "core/releases/runner.hpp"
