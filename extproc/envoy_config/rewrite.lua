-- Makes a request fit the provider of this attempt: host, path and the head of the body.
-- Runs in Envoy's upstream filter chain, once per attempt, before the provider's own headers and
-- credential: what is signed is the request as it goes out. x-llm-provider stays for these.
--
-- What is fixed for a target (host, base path) comes from its endpoint's metadata by way of the
-- x-llm-* headers; what depends on the request comes from the dynamic metadata "llm.plan":
--   plen           bytes of the body's head, as sent, that name the model
--   cand[target]   endpoint; headers for this target alone; prefix: its own head, absent if the
--                  one sent is right; carried: its whole body is another, in "llm.bodies"

function envoy_on_request(handle)
  local headers = handle:headers()
  local target = headers:get("x-llm-target")
  local host = headers:get("x-llm-host")
  local base_path = headers:get("x-llm-path") or ""
  for _, name in ipairs({"x-llm-target", "x-llm-host", "x-llm-path"}) do
    headers:remove(name)
  end
  if not target then
    return -- the bounce cluster: it never connects, so there is nothing to prepare
  end

  local plan = handle:streamInfo():dynamicMetadata():get("llm.plan")
  local step = plan and plan.cand and plan.cand[target]
  if not step then
    -- Never send a body that was prepared for another provider.
    handle:respond({[":status"] = "503"}, "unplanned target")
    return
  end

  headers:replace(":authority", host)
  headers:replace(":path", base_path .. step.endpoint)
  for name, value in pairs(step.headers or {}) do
    headers:replace(name, value)
  end

  -- body() may yield, which invalidates every handle taken before it.
  local body = handle:body(true)
  local length = body:length()
  if step.carried then
    -- Read only here: all that is in a namespace is copied.
    local bodies = handle:streamInfo():dynamicMetadata():get("llm.bodies")
    length = body:setBytes(bodies[target])
  elseif step.prefix then
    length = body:setBytes(step.prefix .. body:getBytes(plan.plen, length - plan.plen))
  end
  -- Header changes persist into later attempts, body changes do not: set the length every time.
  handle:headers():replace("content-length", tostring(length))
end
