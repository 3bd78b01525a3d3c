// What every SQL operation begins with: which one it is, what its caller may do, its body, the form of its answer.
// Thread: any.
#pragma once

#include "plugins/sqlwire/request.hpp"

#include <span>

namespace via::sqlwire {

enum class Format { json, lines };  // application/json, application/x-ndjson

// Manifests list "query", "execute", "setup", "batch" in this order.
inline Operation operation_at(uint32_t index) { return index < 4 ? static_cast<Operation>(index) : Operation::batch; }
inline Operation operation_of(const via_op_args* args) { return operation_at(args->op_index); }
Format format_of(std::string_view accept);
Format format_of(const via_op_args* args);

// The scope that the operation needs of its caller's binding.
inline std::string_view scope_of(Operation operation) { return operation == Operation::query ? "read" : "write"; }
Failure scope_missing();
// Where the body names a generation: one of those that live (ascending).
Failure check_generation(const Request& request, std::span<const uint32_t> live);
// Both, for a plugin that works on the tables of the ABI.
Failure check_caller(const via_op_args* args, Operation operation, const Request& request);

// The whole body: what came with the call, and the rest of it. May wait.
Failure read_body(const via_op_args* args, via_call* call, std::string& out);

}  // namespace via::sqlwire
