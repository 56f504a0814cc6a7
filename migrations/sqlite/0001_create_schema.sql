-- Creates the truth for one coordinator in one file: the same tables and columns as in Postgres, so
-- that both are read alike. Moments and durations are microseconds, identifiers 16 bytes, JSON is
-- text. The writer is alone (every write is a BEGIN IMMEDIATE), so nothing here is split, padded or
-- left without references for the sake of concurrency; only the shape is kept.

create table lease (
    id          integer primary key check (id = 1),
    holder      text    not null,
    incarnation text    not null,
    generation  integer not null,
    expires_at  integer not null,
    resigned    integer not null,
    longest_ttl integer not null
) strict;

create table fence (
    id            integer primary key check (id = 1),
    generation    integer not null,
    incarnation   text    not null,
    applied_batch integer not null
) strict;

insert into lease values (1, 'none', 'none', 0, 0, 1, 0);
insert into fence values (1, 0, 'none', 0);

create table coordinators (
    incarnation    text    primary key,
    coordinator_id text    not null,
    address        text    not null,
    version        text    not null,
    started_at     integer not null,
    last_seen      integer not null
) strict;

create table customers (
    id                       blob    primary key,
    name                     text    not null,
    tier                     text    not null,
    max_concurrent_workloads integer,
    max_queue_depth          integer,
    rate_limit_per_sec       integer,
    rate_limit_burst         integer,
    created_at               integer not null
) strict;
create index customers_list on customers (created_at, id);

create table customer_submitted (
    customer_id blob    primary key,
    submitted   integer not null
) strict;

create table customer_moved (
    customer_id blob    primary key,
    left_queue  integer not null,
    running     integer not null
) strict;

create table api_keys (
    id           blob    primary key,
    customer_id  blob    references customers (id),
    name         text    not null,
    prefix       text    not null,
    secret_hash  blob    not null unique,
    created_at   integer not null,
    expires_at   integer,
    last_used_at integer,
    revoked_at   integer
) strict;
create index api_keys_list on api_keys (customer_id, created_at, id);

create table workload_configs (
    id                      blob    primary key,
    customer_id             blob    not null references customers (id),
    workload_type           text    not null,
    description             text,
    config_json             text    not null,
    resource_limits         text    not null,
    checkpoint_interval_sec integer not null,
    max_retries             integer not null,
    timeout_seconds         integer not null,
    on_lease_loss           text    not null,
    created_at              integer not null,
    updated_at              integer not null,
    unique (customer_id, workload_type)
) strict;
create index workload_configs_list on workload_configs (customer_id, created_at, id);

create table workloads (
    id                  blob    primary key,
    customer_id         blob    not null,
    config_id           blob    not null,
    workload_type       text    not null,
    placement_class     integer not null,
    priority            integer not null,
    affinity            text    not null,
    max_retries         integer not null,
    timeout_seconds     integer not null,
    on_lease_loss       text    not null,
    run_after           integer,
    created_at          integer not null,
    desired             text    not null,
    wish_revision       integer not null,
    status              text    not null,
    open                integer not null,
    attempt             integer not null,
    worker_id           text,
    worker_incarnation  text,
    retry_count         integer not null,
    loss_count          integer not null,
    eligible_at         integer not null,
    sort_key            integer not null,
    backoff_until       integer,
    wish_seen           integer not null,
    stopping            text,
    error_type          text,
    scheduled_at        integer,
    started_at          integer,
    completed_at        integer,
    version             integer not null,
    updated_at          integer not null,
    checkpoint_attempt  integer,
    checkpoint_sequence integer,
    progress_percent    real,
    progress_message    text,
    pending_code        text,
    pending_detail      text
) strict;
create index workloads_queue on workloads (customer_id, placement_class, sort_key, id) where open;
create index workloads_eligible on workloads (eligible_at, id) where open;
create index workloads_wishes on workloads (id) where wish_revision <> wish_seen and open;
create index workloads_list on workloads (customer_id, created_at, id);
create index workloads_config on workloads (config_id) where open;

create table workload_payloads (
    workload_id             blob    primary key,
    input_params            text    not null,
    config_json             text    not null,
    resource_limits         text    not null,
    checkpoint_interval_sec integer not null,
    affinity_rules          text,
    labels                  text    not null
) strict;

create table workload_outcomes (
    workload_id    blob primary key,
    result_attempt integer,
    result_data    text,
    error_attempt  integer,
    error_message  text
) strict;

create table checkpoints (
    workload_id         blob    primary key,
    attempt             integer not null,
    checkpoint_sequence integer not null,
    data                text    not null,
    created_at          integer not null
) strict;

create table idempotency (
    customer_id blob    not null,
    key         text    not null,
    body_hash   blob    not null,
    workload_id blob    not null,
    created_at  integer not null,
    primary key (customer_id, key)
) strict;
create index idempotency_age on idempotency (created_at);

create table audit (
    workload_id blob    not null,
    sequence    integer not null,
    kind        text    not null,
    at          integer not null,
    actor_type  text    not null,
    actor_id    text,
    attempt     integer not null,
    generation  integer not null,
    details     text    not null,
    primary key (workload_id, sequence)
) strict, without rowid;

create table logs (
    workload_id blob    not null,
    attempt     integer not null,
    sequence    integer not null,
    day         integer not null,
    at          integer not null,
    level       text    not null,
    message     text    not null check (octet_length(message) <= 8192),
    primary key (workload_id, attempt, sequence)
) strict, without rowid;

create table workers (
    worker_id      text    primary key,
    incarnation    text    not null,
    status         text    not null,
    capabilities   text    not null,
    capacity       integer not null,
    tags           text    not null,
    version        text    not null,
    longest_lease  integer not null,
    wish_seen      integer not null,
    registered_at  integer,
    last_heartbeat integer
) strict;

create table worker_wishes (
    worker_id      text    primary key,
    desired        text    not null,
    wish_revision  integer not null,
    drain_deadline integer
) strict;

create table admin_audit (
    sequence integer primary key,
    at       integer not null,
    actor_id text    not null,
    action   text    not null,
    subject  text    not null,
    details  text    not null
) strict;
