-- Counts what happens, by customer, hour and type, so that statistics cost the same whatever the
-- number of workloads; see the migration of the same number for Postgres.

create table hours_submitted (
    customer_id   blob    not null,
    hour          integer not null,
    workload_type text    not null,
    submitted     integer not null,
    primary key (customer_id, hour, workload_type)
) strict, without rowid;
create index hours_submitted_age on hours_submitted (hour);

create table hours_ended (
    customer_id   blob    not null,
    hour          integer not null,
    workload_type text    not null,
    completed     integer not null,
    failed        integer not null,
    cancelled     integer not null,
    run_micros    integer not null,
    primary key (customer_id, hour, workload_type)
) strict, without rowid;
create index hours_ended_age on hours_ended (hour);
