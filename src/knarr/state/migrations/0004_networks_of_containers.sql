-- A container's networks are all in `spec.endpoints`; its main one was left out there where nothing was asked of it.

UPDATE containers
SET spec = json_insert(spec, '$.endpoints[#]', json_object('network', json_extract(spec, '$.network_mode')))
WHERE json_extract(spec, '$.network_mode') NOT IN ('host', 'none')
  AND json_extract(spec, '$.network_mode') NOT LIKE 'container:%'
  AND NOT EXISTS (
      SELECT 1 FROM json_each(containers.spec, '$.endpoints')
      WHERE json_extract(json_each.value, '$.network') = json_extract(containers.spec, '$.network_mode'));
