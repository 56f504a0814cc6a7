-- Counts what happens, by customer, hour and type, so that statistics cost the same whatever the
-- number of workloads. Why it looks as it does:
--
-- * Two tables with one writer each, like the counters of a customer: submissions write the one, in
--   the statement that admits them and after the customer's own counter; the leader the other, in
--   its commits. Neither waits for the other.
-- * A row is made once an hour and type, and its counts are in no index, so that updates stay HOT.
-- * Counting rows when asked was rejected: it grows with the table.

create table hours_submitted (
    customer_id   uuid        not null,
    hour          timestamptz not null,
    workload_type text        not null,
    submitted     bigint      not null,
    primary key (customer_id, hour, workload_type)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
create index hours_submitted_age on hours_submitted (hour);

create table hours_ended (
    customer_id   uuid        not null,
    hour          timestamptz not null,
    workload_type text        not null,
    completed     bigint      not null,
    failed        bigint      not null,
    cancelled     bigint      not null,
    run_micros    bigint      not null,  -- of the attempts that ended them
    primary key (customer_id, hour, workload_type)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
create index hours_ended_age on hours_ended (hour);
