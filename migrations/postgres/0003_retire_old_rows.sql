-- Lets what is old enough be found and removed in bounded steps. Why it looks as it does:
--
-- * `completed_at` and `open` change once, at the end of a workload, so the index that finds ended
--   ones costs no move its HOT update.
-- * An idempotency record is found by its workload too, because it goes when that goes.
-- * Logs are partitioned by the day on which the database received a line; a day is dropped whole.
--   A line that is repeated across midnight may stand in two days: readers take the first. What is
--   there already stays where it is, as the first partition; nothing is copied.
-- * `logs_other` takes what has no day of its own, should nobody have prepared any: no line is ever
--   refused for that.

create index workloads_ended on workloads (completed_at) where not open;
create index idempotency_workload on idempotency (workload_id);

alter table logs rename to logs_before;
alter table logs_before drop constraint logs_pkey;
alter table logs_before add primary key (workload_id, attempt, sequence, day);

create table logs (
    workload_id uuid        not null,
    attempt     bigint      not null,
    sequence    bigint      not null,
    day         date        not null,
    at          timestamptz not null,
    level       text        not null,
    message     text        not null
        constraint logs_message_check check (octet_length(message) <= 8192),
    primary key (workload_id, attempt, sequence, day)
) partition by range (day);

do $$
begin
    execute format('alter table logs attach partition logs_before for values from (minvalue) to (%L)',
        (clock_timestamp() at time zone 'UTC')::date + 1);
end $$;
create table logs_other partition of logs default;

-- Makes a partition for tomorrow and the days after it. A day that exists, or whose lines stand in
-- `logs_other`, is left as it is.
create function niyanta_prepare_log_days(ahead int) returns void
language plpgsql volatile as $$
declare
    today date := (clock_timestamp() at time zone 'UTC')::date;
    d date;
begin
    for d in select today + n from generate_series(0, ahead) n loop
        if to_regclass(format('logs_%s', to_char(d, 'YYYYMMDD'))) is null then
            begin
                execute format('create table %I partition of logs for values from (%L) to (%L)',
                    'logs_' || to_char(d, 'YYYYMMDD'), d, d + 1);
            exception
                -- Overlaps another partition, lines in logs_other, made by somebody else meanwhile.
                when invalid_object_definition or check_violation or duplicate_table then null;
            end;
        end if;
    end loop;
end $$;

-- Drops the days that lie wholly before `oldest`; what else is older goes row by row. Returns how
-- many days and rows went.
create function niyanta_retire_logs(oldest date, most int) returns bigint
language plpgsql volatile as $$
declare
    part record;
    gone bigint := 0;
    n bigint;
begin
    for part in
        select c.oid::regclass as name from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'logs'::regclass and (regexp_match(
            pg_get_expr(c.relpartbound, c.oid), 'TO \(''([0-9-]+)''\)'))[1]::date <= oldest
        limit 10
    loop
        execute format('drop table %s', part.name);
        gone := gone + 1;
    end loop;
    delete from logs_other where ctid = any(array(
        select ctid from logs_other where day < oldest limit most));
    get diagnostics n = row_count;
    return gone + n;
end $$;

select niyanta_prepare_log_days(7);
