// A plugin as a plain C++20 class: everything but the entry point (via/plugin/entry.hpp, for one source of the plugin).
// Read first: via/plugin/shell.hpp, which lists the methods a class may have and what each offers. Header only.
#pragma once

#include <via/plugin/call.hpp>
#include <via/plugin/host.hpp>
#include <via/plugin/shell.hpp>
#include <via/plugin/values.hpp>
