-- wrk: sends the requests of a file again and again. One request a line: token file (or "-"), method, path, body, with
-- tabs between. Tokens come from files, so that none is on a command line. The last line of the output is read by load.cpp.
local requests = {}
local at = 0

local function contents(path)
  local file = assert(io.open(path, "r"))
  local text = file:read("*a"):gsub("%s+$", "")
  file:close()
  return text
end

function init(args)
  local tokens = {}
  for line in io.lines(os.getenv("BENCH_REQUESTS")) do
    local token, method, path, body = line:match("^([^\t]*)\t([^\t]*)\t([^\t]*)\t(.*)$")
    local headers = {["Content-Type"] = "application/json"}
    if token ~= "-" then
      tokens[token] = tokens[token] or contents(token)
      headers["Authorization"] = "Bearer " .. tokens[token]
    end
    requests[#requests + 1] = wrk.format(method, path, headers, body)
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency, unused)
  local e = summary.errors
  io.write(string.format(
    "BENCH {\"requests\":%d,\"us\":%d,\"p50\":%.3f,\"p90\":%.3f,\"p99\":%.3f,\"p999\":%.3f,\"max\":%.3f,\"refused\":%d,\"broken\":%d}\n",
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(90), latency:percentile(99),
    latency:percentile(99.9), latency.max, e.status, e.connect + e.read + e.write + e.timeout))
end
