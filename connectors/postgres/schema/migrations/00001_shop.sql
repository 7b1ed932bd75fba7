-- The shop's tables and the rules that hold whoever writes. Runs as shop_owner, who owns every object and whom nobody
-- logs in as. Rights are no part of the migrations: deploy/access.yaml declares them, `access apply` grants them.
-- Row security is switched on here, so that a table without policies shows nothing to anybody but its owner.
--
-- SQLSTATEs of the shop: SH001 a retired item is ordered, SH002 an illegal change of status, SH003 a retired item is
-- listed again or its retirement moved.

-- +goose Up
ALTER DEFAULT PRIVILEGES FOR ROLE shop_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE shop_owner REVOKE USAGE   ON TYPES     FROM PUBLIC;

CREATE SCHEMA shop;

CREATE TYPE shop.membership_status AS ENUM ('active','suspended','closed');
CREATE TYPE shop.txn_status        AS ENUM ('pending','paid','shipped','completed','cancelled','refunded');

-- One row. adult_on is the day on which a member must be over 18; currency is the one currency of every price.
CREATE TABLE shop.parameters (
  singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  adult_on  date    NOT NULL DEFAULT DATE '2022-01-01',
  currency  text    NOT NULL DEFAULT 'SGD' CHECK (currency ~ '^[A-Z]{3}$')
);
INSERT INTO shop.parameters DEFAULT VALUES;

-- membership_id is <last_name>_<first 5 hex digits of sha256(YYYYMMDD)>: two people can share one, so it is unique here
-- but never the key of anything.
CREATE TABLE shop.members (
  member_key     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  membership_id  text NOT NULL UNIQUE CHECK (membership_id ~ '^.+_[0-9a-f]{5}$'),
  first_name     text NOT NULL CHECK (first_name <> ''),
  last_name      text NOT NULL CHECK (last_name <> ''),
  email          text NOT NULL CHECK (email ~* '@emailprovider\.(com|net)$'),
  mobile_no      text NOT NULL CHECK (mobile_no ~ '^[0-9]{8}$'),
  date_of_birth  date NOT NULL,
  above_18       boolean NOT NULL,
  status         shop.membership_status NOT NULL DEFAULT 'active',
  joined_at      timestamptz NOT NULL DEFAULT now(),
  updated_at     timestamptz NOT NULL DEFAULT now(),
  CHECK (above_18)
);
CREATE UNIQUE INDEX members_email_uq ON shop.members (lower(email));

CREATE TABLE shop.manufacturers (
  manufacturer_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  manufacturer_name text NOT NULL UNIQUE CHECK (manufacturer_name <> '')
);

-- item_id comes from the event: an identity column beside given ids ends in a unique violation on the next default.
CREATE TABLE shop.items (
  item_id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  item_name       text NOT NULL CHECK (item_name <> ''),
  manufacturer_id bigint NOT NULL REFERENCES shop.manufacturers,
  cost            numeric(12,2) NOT NULL CHECK (cost >= 0),
  weight_kg       numeric(10,3) NOT NULL CHECK (weight_kg > 0),
  listed_at       timestamptz NOT NULL DEFAULT now(),
  retired_at      timestamptz,
  CHECK (retired_at IS NULL OR retired_at >= listed_at)
);
CREATE UNIQUE INDEX items_live_name_uq ON shop.items (manufacturer_id, lower(item_name)) WHERE retired_at IS NULL;

-- placed_in is the database transaction that placed the order: lines are accepted in that one only (access.yaml).
CREATE TABLE shop.transactions (
  transaction_id        uuid PRIMARY KEY,
  member_key            bigint NOT NULL REFERENCES shop.members,
  status                shop.txn_status NOT NULL DEFAULT 'pending',
  placed_at             timestamptz NOT NULL,
  completed_at          timestamptz,
  total_items_count     integer       NOT NULL DEFAULT 0 CHECK (total_items_count >= 0),
  total_items_price     numeric(14,2) NOT NULL DEFAULT 0 CHECK (total_items_price >= 0),
  total_items_weight_kg numeric(14,3) NOT NULL DEFAULT 0 CHECK (total_items_weight_kg >= 0),
  placed_in             xid8          NOT NULL DEFAULT pg_current_xact_id(),
  CONSTRAINT completed_has_time CHECK ((status IN ('completed','refunded')) = (completed_at IS NOT NULL)),
  CHECK (completed_at IS NULL OR completed_at >= placed_at)
);
CREATE INDEX ON shop.transactions (member_key);
CREATE INDEX transactions_open_ix ON shop.transactions (placed_at) WHERE status IN ('pending','paid','shipped');
ALTER TABLE shop.transactions ENABLE ROW LEVEL SECURITY;

-- unit_price and unit_weight_kg are what held when the order was placed: a later price must not rewrite history.
CREATE TABLE shop.transaction_lines (
  transaction_id uuid NOT NULL REFERENCES shop.transactions ON DELETE RESTRICT,
  line_no        smallint NOT NULL CHECK (line_no > 0),
  item_id        uuid NOT NULL REFERENCES shop.items ON DELETE RESTRICT,
  quantity       integer NOT NULL CHECK (quantity > 0),
  unit_price     numeric(12,2) NOT NULL CHECK (unit_price >= 0),
  unit_weight_kg numeric(10,3) NOT NULL CHECK (unit_weight_kg > 0),
  line_price     numeric(14,2) GENERATED ALWAYS AS (quantity * unit_price) STORED,
  line_weight_kg numeric(14,3) GENERATED ALWAYS AS (quantity * unit_weight_kg) STORED,
  PRIMARY KEY (transaction_id, line_no)
);
CREATE INDEX ON shop.transaction_lines (item_id);
ALTER TABLE shop.transaction_lines ENABLE ROW LEVEL SECURITY;

-- Who changed what of an order, and when. A row with equal statuses tells of a completion time that was rewritten.
CREATE TABLE shop.transaction_status_history (
  transaction_id   uuid NOT NULL REFERENCES shop.transactions,
  from_status      shop.txn_status,
  to_status        shop.txn_status NOT NULL,
  changed_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
  changed_by       name NOT NULL DEFAULT session_user,
  completed_before timestamptz,
  completed_after  timestamptz
);
CREATE INDEX ON shop.transaction_status_history (transaction_id);

-- +goose StatementBegin
CREATE FUNCTION shop.set_above_18() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
  NEW.above_18 := (SELECT NEW.date_of_birth < (p.adult_on - interval '18 years')::date FROM shop.parameters p);
  RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER members_above_18 BEFORE INSERT OR UPDATE OF date_of_birth, above_18 ON shop.members
  FOR EACH ROW EXECUTE FUNCTION shop.set_above_18();

-- A new adult_on is refused (23514) when a member would be too young by it.
-- +goose StatementBegin
CREATE FUNCTION shop.recheck_above_18() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
  UPDATE shop.members SET above_18 = above_18;
  RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER parameters_adult_on AFTER UPDATE OF adult_on ON shop.parameters
  FOR EACH ROW EXECUTE FUNCTION shop.recheck_above_18();

-- Totals are derived here, never taken from a message. The parent is locked first: in READ COMMITTED the sub-select
-- would otherwise use a stale snapshot and lose a line; NO KEY UPDATE goes with the KEY SHARE of the foreign key, so
-- two inserts of lines do not deadlock.
-- +goose StatementBegin
CREATE FUNCTION shop.recompute_totals() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE t uuid := coalesce(NEW.transaction_id, OLD.transaction_id);
BEGIN
  PERFORM 1 FROM shop.transactions WHERE transaction_id = t FOR NO KEY UPDATE;
  UPDATE shop.transactions x SET
    total_items_count = s.c, total_items_price = s.p, total_items_weight_kg = s.w
  FROM (SELECT coalesce(sum(quantity),0) c, coalesce(sum(line_price),0) p, coalesce(sum(line_weight_kg),0) w
          FROM shop.transaction_lines WHERE transaction_id = t) s
  WHERE x.transaction_id = t;
  RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER lines_totals AFTER INSERT OR UPDATE OR DELETE ON shop.transaction_lines
  FOR EACH ROW EXECUTE FUNCTION shop.recompute_totals();

-- +goose StatementBegin
CREATE FUNCTION shop.guard_retired() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
  IF EXISTS (SELECT FROM shop.items i WHERE i.item_id = NEW.item_id AND i.retired_at IS NOT NULL) THEN
    RAISE EXCEPTION 'item % is retired', NEW.item_id USING ERRCODE = 'SH001';
  END IF;
  RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER lines_not_retired BEFORE INSERT ON shop.transaction_lines
  FOR EACH ROW EXECUTE FUNCTION shop.guard_retired();

-- +goose StatementBegin
CREATE FUNCTION shop.guard_retirement() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
  RAISE EXCEPTION 'item % is retired since % and stays so', OLD.item_id, OLD.retired_at USING ERRCODE = 'SH003';
END $$;
-- +goose StatementEnd
CREATE TRIGGER items_stay_retired BEFORE UPDATE ON shop.items FOR EACH ROW
  WHEN (OLD.retired_at IS NOT NULL AND NEW.retired_at IS DISTINCT FROM OLD.retired_at)
  EXECUTE FUNCTION shop.guard_retirement();

-- +goose StatementBegin
CREATE FUNCTION shop.guard_status() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
  IF NEW.status IS DISTINCT FROM OLD.status
     AND NOT ((OLD.status, NEW.status) IN (('pending','paid'),('pending','cancelled'),('paid','shipped'),('paid','completed'),
              ('paid','cancelled'),('shipped','completed'),('completed','refunded'))) THEN
    RAISE EXCEPTION 'illegal transition % -> %', OLD.status, NEW.status USING ERRCODE = 'SH002';
  END IF;
  IF NEW.status IS DISTINCT FROM OLD.status OR NEW.completed_at IS DISTINCT FROM OLD.completed_at THEN
    INSERT INTO shop.transaction_status_history(transaction_id, from_status, to_status, completed_before, completed_after)
    VALUES (NEW.transaction_id, OLD.status, NEW.status, OLD.completed_at, NEW.completed_at);
  END IF;
  RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER txn_status BEFORE UPDATE ON shop.transactions FOR EACH ROW EXECUTE FUNCTION shop.guard_status();
