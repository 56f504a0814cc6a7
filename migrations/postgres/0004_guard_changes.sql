-- Lets a change of a customer or of a workload config name what it is made upon, so that a sending
-- of it that lands late undoes nothing. Why it looks as it does:
--
-- * `updated_at` was rejected for it: a clock may stand still or go back.
-- * A deletion of a config moves its customer's revision on, because a new config is made upon that:
--   the row that it could be made upon is the one that is gone. Deletions are rare, and their lock on
--   the customer's row is held by nobody on the way of a submission.

alter table customers add column revision bigint not null default 0;
alter table workload_configs add column revision bigint not null default 0;

-- As before, and moves the customer's revision on. Before the row is deleted: whoever makes a config
-- holds the customer's row, and would wait for a deleted row of the same type.
create or replace function niyanta_delete_config(customer uuid, config uuid) returns text
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
    update customers set revision = revision + 1 where id = customer;
    delete from workload_configs where customer_id = customer and id = config;
    return 'deleted';
end $$;
