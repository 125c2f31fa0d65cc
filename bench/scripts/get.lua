-- wrk -s get.lua URL -- TOKENS THREADS [ETAGS]
-- Each request GETs one user's records; with ETAGS, a file of one a user, only if they are others by now.
local wire = require("wire")

setup = wire.number

function init(args)
  tokens = wire.tokens(args[1], number, tonumber(args[2]))
  etags = args[3] and wire.tokens(args[3], number, tonumber(args[2]))
  math.randomseed(1 + number)
end

function request()
  local user = math.random(#tokens)
  local headers = { ["Authorization"] = "Bearer " .. tokens[user] }
  if etags then
    headers["If-None-Match"] = etags[user]
  end
  return wrk.format("GET", nil, headers)
end

done = wire.tell
