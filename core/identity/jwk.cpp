#include "core/identity/keys.hpp"
