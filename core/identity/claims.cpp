#include "core/identity/claims.hpp"
