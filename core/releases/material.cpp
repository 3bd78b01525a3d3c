#include "core/releases/material.hpp"
