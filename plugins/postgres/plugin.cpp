// The entry point of the library. One line for each type of manifest.json.
#include <via/plugin/entry.hpp>

#include "plugins/postgres/postgres.hpp"

VIA_PLUGIN(via::plugin::Type<via::postgres::Postgres>{"postgres"});
