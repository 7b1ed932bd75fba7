-- What the appliers remember, in the same database as their effects, so that both are committed at once.
-- `applier` is the team role, not the login: two logins of a team can take turns without a replay. Row security lets a
-- login see the rows of its own team only.

-- +goose Up
CREATE SCHEMA IF NOT EXISTS pipeline;

-- Everything of the partition up to last_offset is settled: applied, dead-lettered or parked. Keyed by the topic's id
-- (KIP-516), not its name: a topic deleted and made again begins at offset 0, and so does its watermark.
CREATE TABLE pipeline.applied_offsets (
  applier      name    NOT NULL,
  cluster_id   text    NOT NULL,
  topic_id     uuid    NOT NULL,
  topic        text    NOT NULL,
  partition_no integer NOT NULL CHECK (partition_no >= 0),
  last_offset  bigint  NOT NULL,
  updated_at   timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (applier, cluster_id, topic_id, partition_no)
);

-- A producer's duplicates have other offsets but the same event id. Only events that had an effect are here; rows go
-- when the topic can no longer hold a copy.
CREATE TABLE pipeline.applied_events (
  applier    name NOT NULL,
  event_id   uuid NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (applier, event_id)
);
CREATE INDEX ON pipeline.applied_events (applier, applied_at);

-- Records behind the watermark that still wait for the item, order or member they speak of, or for an earlier record
-- of the same key: whole, so that a dead letter can carry the source bytes.
CREATE TABLE pipeline.parked_events (
  applier          name    NOT NULL,
  cluster_id       text    NOT NULL,
  topic_id         uuid    NOT NULL,
  topic            text    NOT NULL,
  partition_no     integer NOT NULL CHECK (partition_no >= 0),
  record_offset    bigint  NOT NULL,
  entity_key       text    NOT NULL,
  parked_at        timestamptz NOT NULL,
  attempts         integer NOT NULL DEFAULT 1,
  record_timestamp timestamptz NOT NULL,
  record_key       bytea,
  record_value     bytea   NOT NULL,
  header_keys      text[]  NOT NULL,
  header_values    bytea[] NOT NULL,
  PRIMARY KEY (applier, cluster_id, topic_id, partition_no, record_offset)
);

ALTER TABLE pipeline.applied_offsets ENABLE ROW LEVEL SECURITY;
ALTER TABLE pipeline.applied_events  ENABLE ROW LEVEL SECURITY;
ALTER TABLE pipeline.parked_events   ENABLE ROW LEVEL SECURITY;
