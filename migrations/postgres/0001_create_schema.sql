-- Creates the truth. Why it looks as it does:
--
-- * A workload's row has two halves with one writer each: the API writes `desired` and
--   `wish_revision`, the leader writes status, attempt and what follows from them. What is large
--   or never moves lives in side tables, so that the row that moves stays narrow.
-- * No index, and no index predicate, names a column that changes with every move (status above
--   all), so that moves stay HOT. `open` changes once, at the end.
-- * The lease and fence rows are made here and never deleted: every leader's write is an update of
--   the fence row, so without it nothing can be committed.
-- * Counters of a customer are split by writer: submissions write `customer_submitted`, the leader
--   `customer_moved`; neither waits for the other.
-- * Workload tables carry no foreign keys: a key-share lock on a customer's row by each of many
--   writers makes multixacts on the hottest path, for rows that are never deleted beneath them.

create table lease (
    id          smallint    primary key check (id = 1),
    holder      text        not null,
    incarnation text        not null,
    generation  bigint      not null,
    expires_at  timestamptz not null,
    resigned    boolean     not null,
    longest_ttl bigint      not null  -- microseconds; only ever raised
) with (fillfactor = 20);

create table fence (
    id            smallint primary key check (id = 1),
    generation    bigint   not null,
    incarnation   text     not null,
    applied_batch bigint   not null
) with (fillfactor = 20);

insert into lease values (1, 'none', 'none', 0, 'epoch', true, 0);
insert into fence values (1, 0, 'none', 0);

create table coordinators (
    incarnation    text        primary key,
    coordinator_id text        not null,
    address        text        not null,
    version        text        not null,
    started_at     timestamptz not null,
    last_seen      timestamptz not null
);

create table customers (
    id                       uuid        primary key,
    name                     text        not null,
    tier                     text        not null,
    max_concurrent_workloads bigint,
    max_queue_depth          bigint,
    rate_limit_per_sec       bigint,
    rate_limit_burst         bigint,
    created_at               timestamptz not null
);
create index customers_list on customers (created_at, id);

create table customer_submitted (
    customer_id uuid   primary key,
    submitted   bigint not null
) with (fillfactor = 40, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);

create table customer_moved (
    customer_id uuid   primary key,
    left_queue  bigint not null,
    running     bigint not null
) with (fillfactor = 40, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200);

create table api_keys (
    id           uuid        primary key,
    customer_id  uuid        references customers (id),
    name         text        not null,
    prefix       text        not null,
    secret_hash  bytea       not null unique,
    created_at   timestamptz not null,
    expires_at   timestamptz,
    last_used_at timestamptz,
    revoked_at   timestamptz
);
create index api_keys_list on api_keys (customer_id, created_at, id);

create table workload_configs (
    id                      uuid        primary key,
    customer_id             uuid        not null references customers (id),
    workload_type           text        not null,
    description             text,
    config_json             json        not null,
    resource_limits         json        not null,
    checkpoint_interval_sec bigint      not null,
    max_retries             bigint      not null,
    timeout_seconds         bigint      not null,
    on_lease_loss           text        not null,
    created_at              timestamptz not null,
    updated_at              timestamptz not null,
    unique (customer_id, workload_type)
);
create index workload_configs_list on workload_configs (customer_id, created_at, id);

create table workloads (
    -- as submitted
    id                  uuid        primary key,
    customer_id         uuid        not null,
    config_id           uuid        not null,
    workload_type       text        not null,
    placement_class     bigint      not null,
    priority            bigint      not null,
    affinity            jsonb       not null,
    max_retries         bigint      not null,
    timeout_seconds     bigint      not null,
    on_lease_loss       text        not null,
    run_after           timestamptz,
    created_at          timestamptz not null,
    -- written by the API
    desired             text        not null,
    wish_revision       bigint      not null,
    -- written by the leader
    status              text        not null,
    open                boolean     not null,
    attempt             bigint      not null,
    worker_id           text,
    worker_incarnation  text,
    retry_count         bigint      not null,
    loss_count          bigint      not null,
    eligible_at         timestamptz not null,
    sort_key            bigint      not null,
    backoff_until       timestamptz,
    wish_seen           bigint      not null,
    stopping            text,
    error_type          text,
    scheduled_at        timestamptz,
    started_at          timestamptz,
    completed_at        timestamptz,
    -- written by both, one number for each audit event
    version             bigint      not null,
    updated_at          timestamptz not null,
    -- written beside the batch, guarded by the open attempt
    checkpoint_attempt  bigint,
    checkpoint_sequence bigint,
    progress_percent    double precision,
    progress_message    text,
    -- advisory
    pending_code        text,
    pending_detail      text
) with (
    fillfactor = 85,
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000,
    autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 1
);
create index workloads_queue on workloads (customer_id, placement_class, sort_key, id) where open;
create index workloads_eligible on workloads (eligible_at, id) where open;
create index workloads_wishes on workloads (id) where wish_revision <> wish_seen and open;
create index workloads_list on workloads (customer_id, created_at, id);
create index workloads_config on workloads (config_id) where open;

create table workload_payloads (
    workload_id             uuid   primary key,
    input_params            json   not null,
    config_json             json   not null,
    resource_limits         json   not null,
    checkpoint_interval_sec bigint not null,
    affinity_rules          json,
    labels                  jsonb  not null
);

-- The last reports' contents. Each is told only once its attempt is over.
create table workload_outcomes (
    workload_id    uuid   primary key,
    result_attempt bigint,
    result_data    json,
    error_attempt  bigint,
    error_message  text
);

create table checkpoints (
    workload_id         uuid        primary key,
    attempt             bigint      not null,
    checkpoint_sequence bigint      not null,
    data                text        not null,
    created_at          timestamptz not null
) with (autovacuum_vacuum_scale_factor = 0.05);

create table idempotency (
    customer_id uuid        not null,
    key         text        not null,
    body_hash   bytea       not null,
    workload_id uuid        not null,
    created_at  timestamptz not null,
    primary key (customer_id, key)
);
create index idempotency_age on idempotency (created_at);

create table audit (
    workload_id uuid        not null,
    sequence    bigint      not null,
    kind        text        not null,
    at          timestamptz not null,
    actor_type  text        not null,
    actor_id    text,
    attempt     bigint      not null,
    generation  bigint      not null,
    details     json        not null,
    primary key (workload_id, sequence)
);

-- `day` is when the database received the line: room for partitions that retention can drop whole.
create table logs (
    workload_id uuid        not null,
    attempt     bigint      not null,
    sequence    bigint      not null,
    day         date        not null,
    at          timestamptz not null,
    level       text        not null,
    message     text        not null check (octet_length(message) <= 8192),
    primary key (workload_id, attempt, sequence)
);

-- The leader's half of a worker. Deleted when it deregisters or is removed.
create table workers (
    worker_id      text        primary key,
    incarnation    text        not null,
    status         text        not null,
    capabilities   jsonb       not null,
    capacity       bigint      not null,
    tags           jsonb       not null,
    version        text        not null,
    longest_lease  bigint      not null,  -- microseconds; never lowered for an incarnation
    wish_seen      bigint      not null,
    registered_at  timestamptz,
    last_heartbeat timestamptz
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

-- The operators' half. A drain belongs to the id and outlives the row above.
create table worker_wishes (
    worker_id      text        primary key,
    desired        text        not null,
    wish_revision  bigint      not null,
    drain_deadline timestamptz
);

create table admin_audit (
    sequence bigint      primary key,
    at       timestamptz not null,
    actor_id text        not null,
    action   text        not null,
    subject  text        not null,
    details  json        not null
);

-- Numbers the admin audit in commit order, so that a reader's place in it skips nothing.
create table admin_audit_head (
    id   smallint primary key check (id = 1),
    last bigint   not null
);
insert into admin_audit_head values (1, 0);

-- Raises inside a statement, so that all of it is undone. NY001: a count differs from what the
-- leader expected. NY002: a queue filled up while the submission waited. NY003: a row that must
-- exist does not.
create function niyanta_raise(code text, what text) returns bigint
language plpgsql volatile as $$
begin
    raise exception using errcode = code, message = what;
end $$;

-- Locks what submissions of this customer lock, then looks: a submission that was admitted before
-- is seen. (A plain DELETE would judge by a snapshot from before the wait.)
create function niyanta_delete_config(customer uuid, config uuid) returns text
language plpgsql volatile as $$
begin
    perform 1 from customer_submitted where customer_id = customer for no key update;
    perform 1 from workload_configs where customer_id = customer and id = config for update;
    if not found then
        return 'not_found';
    end if;
    if exists (select 1 from workloads where config_id = config and open) then
        return 'in_use';
    end if;
    delete from workload_configs where customer_id = customer and id = config;
    return 'deleted';
end $$;
