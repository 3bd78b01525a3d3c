// A plugin library that runs in processes of its own, one for each of its add-on types, and is never loaded into the host.
//
// The instances it makes are tables of the ABI whose functions are carried to the runner; whoever calls them sees no
// difference but these: try_invoke and try_handle send a call and never answer it inline, and a call may fail with
// VIA_E_UNAVAILABLE because the process ended. The process is started again at the next use, and the instance is made and
// opened there again as it was.
//
// Thread: as the ABI's tags say.
#pragma once

#include <memory>

#include "core/isolation/run.hpp"
#include "core/plugins/library.hpp"

namespace via::isolation {

// Starts nothing yet: init() does.
std::shared_ptr<plugins::Library> isolate(const plugins::Services& services, plugins::Image image, const Options& options);

}  // namespace via::isolation
