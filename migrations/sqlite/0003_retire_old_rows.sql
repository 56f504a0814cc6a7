-- Lets what is old enough be found and removed in bounded steps; see the migration of the same
-- number for Postgres. Here logs go row by row.

create index workloads_ended on workloads (completed_at) where not open;
create index idempotency_workload on idempotency (workload_id);
create index logs_day on logs (day);
