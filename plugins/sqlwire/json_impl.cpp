// Boost.JSON compiled into the plugin: Debian's libboost_json.a is not position-independent, and the plugin must not
// depend on a shared library of the host's choosing.
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#include <boost/json/src.hpp>
