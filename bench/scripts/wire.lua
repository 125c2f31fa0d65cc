-- What the scripts for wrk have in common. They are run in this folder.
local wire = {}
local begun = 0

-- Gives each thread its `number`, from 0.
function wire.number(thread)
  thread:set("number", begun)
  begun = begun + 1
end

-- The lines of a file that belong to thread `number` of `threads`: tokens, one of a user each.
function wire.tokens(path, number, threads)
  local found, at = {}, 0
  for line in io.lines(path) do
    if at % threads == number then
      found[#found + 1] = line
    end
    at = at + 1
  end
  return found
end

-- One line of JSON, at the end.
function wire.tell(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"seconds":%.6f,"p50_ms":%.3f,"p99_ms":%.3f,"p999_ms":%.3f,"failed":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    latency:percentile(99.9) / 1e3, errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end

return wire
