-- Lets a change of a customer or of a workload config name what it is made upon; see the migration
-- of the same number for Postgres.

alter table customers add column revision integer not null default 0;
alter table workload_configs add column revision integer not null default 0;
