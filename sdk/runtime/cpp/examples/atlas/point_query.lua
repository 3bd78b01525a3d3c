-- wrk: one point query of Atlas through its binding. The token is read from $ATLAS_TOKEN_FILE, so that it is on no
-- command line.
local codes = {"AD", "BR", "CA", "DE", "FJ", "IN", "JP", "KE", "NO", "US"}
local at = 0
local headers = {["Content-Type"] = "application/json"}

function init()
  local file = assert(io.open(os.getenv("ATLAS_TOKEN_FILE"), "r"))
  headers["Authorization"] = "Bearer " .. file:read("*a"):gsub("%s+$", "")
  file:close()
end

function request()
  at = at % #codes + 1
  local body = '{"sql":"SELECT name FROM country WHERE code = ?","params":["' .. codes[at] .. '"]}'
  return wrk.format("POST", nil, headers, body)
end
