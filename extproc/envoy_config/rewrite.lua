-- Makes a request fit the provider of this attempt: host, path and the head of the body.
-- Runs in Envoy's upstream filter chain, once per attempt, after the credential is in place.
--
-- What is fixed for a target (host, base path) comes from its endpoint's metadata by way of the
-- x-llm-* headers; what depends on the request comes from the dynamic metadata "llm.plan":
--   plen           bytes of the body's head, as sent, that name the model
--   cand[target]   endpoint, and prefix: this target's own head, absent if the one sent is right

function envoy_on_request(handle)
  local headers = handle:headers()
  local target = headers:get("x-llm-target")
  local host = headers:get("x-llm-host")
  local base_path = headers:get("x-llm-path") or ""
  for _, name in ipairs({"x-llm-target", "x-llm-provider", "x-llm-host", "x-llm-path"}) do
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

  -- body() may yield, which invalidates every handle taken before it.
  local body = handle:body(true)
  local length = body:length()
  if step.prefix then
    length = body:setBytes(step.prefix .. body:getBytes(plan.plen, length - plan.plen))
  end
  -- Header changes persist into later attempts, body changes do not: set the length every time.
  handle:headers():replace("content-length", tostring(length))
end
