"""One sync run as data: records, mapping, plan, guard and history. Pure."""
