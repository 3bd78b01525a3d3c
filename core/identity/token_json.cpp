#include "core/identity/token.hpp"
