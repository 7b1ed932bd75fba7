package httpin

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// removal is a change event of the sales team.
func removal(n int, further string) string {
	return fmt.Sprintf(`{"event_id":"00000000-0000-4000-8000-%012d","occurred_at":"2026-11-23T10:00:00Z","op":"remove","item_id":"00000000-0000-4000-9000-%012d"%s}`, n, n, further)
}

func TestEveryAnswerOfAChange(t *testing.T) {
	t.Parallel()
	d := openDoor(t, func(c *Config) { c.Limits.ChangeBytes = 2000 })
	for _, row := range []struct {
		name, topic, key, body string
		header                 []string
		status                 int
	}{
		{"the team that owns the topic", "items.changes", salesKey, removal(1, ""), nil, 202},
		{"no key", "items.changes", "", removal(1, ""), nil, 401},
		{"a key without the scope", "items.changes", lostKey, removal(1, ""), nil, 403},
		{"a scope for another team's topic", "orders.placed", strayKey, removal(1, ""), nil, 403},
		{"a tenant's key", "items.changes", demoKey, removal(1, ""), nil, 403},
		{"an operator's key", "items.changes", operKey, removal(1, ""), nil, 403},
		{"a topic that takes no changes", "raw-images", salesKey, removal(1, ""), nil, 404},
		{"an unknown topic", "items.changes.dlq", salesKey, removal(1, ""), nil, 404},
		{"no JSON", "items.changes", salesKey, `{"event_id":`, nil, 400},
		{"a field that is missing", "items.changes", salesKey, `{}`, nil, 400},
		{"an unknown field", "items.changes", salesKey, removal(1, `,"colour":"red"`), nil, 422},
		{"an unknown value", "items.changes", salesKey, strings.Replace(removal(1, ""), "remove", "paint", 1), nil, 422},
		{"too many bytes", "items.changes", salesKey, removal(1, strings.Repeat(" ", 2000)), nil, 413},
		{"another digest", "items.changes", salesKey, removal(1, ""), []string{"Content-Digest", "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"}, 400},
	} {
		r := d.do("POST", "/v1/changes/"+row.topic, row.key, strings.NewReader(row.body), append([]string{"Content-Type", "application/json"}, row.header...)...)
		if r.status != row.status {
			t.Errorf("%s: %d, want %d: %s", row.name, r.status, row.status, r.body)
		}
		if row.status == 202 {
			if got := r.json(t); got["event_id"] != "00000000-0000-4000-8000-000000000001" || got["topic"] != row.topic || got["partition"] != 0.0 || got["offset"] != 0.0 {
				t.Errorf("%s: %v", row.name, got)
			}
		}
	}
	records := d.records("items.changes")
	if len(records) != 1 || string(records[0].Key) != "00000000-0000-4000-9000-000000000001" || string(records[0].Value) != removal(1, "") {
		t.Errorf("%d records in the topic", len(records))
	}
}

func TestAChangeUnderAnIdempotencyKeyIsPublishedOnce(t *testing.T) {
	t.Parallel()
	d := openDoor(t, func(c *Config) { c.Limits.Accept = 300 * time.Millisecond })
	send := func(body string) reply {
		return d.do("POST", "/v1/changes/items.changes", salesKey, strings.NewReader(body), "Idempotency-Key", "k")
	}
	fault := d.kafka.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: -1})
	if r := send(removal(1, "")); r.status != 503 || r.header.Get("Retry-After") == "" {
		t.Errorf("Kafka away: %d %s", r.status, r.body)
	}
	fault.Remove()
	first, again := send(removal(1, "")), send(removal(1, ""))
	if first.status != 202 || !bytes.Equal(first.body, again.body) {
		t.Errorf("%d %s, then %d %s", first.status, first.body, again.status, again.body)
	}
	if r := send(removal(2, "")); r.status != 422 {
		t.Errorf("another event: %d", r.status)
	}
	if n := len(d.records("items.changes")); n != 1 {
		t.Errorf("%d records, want 1", n)
	}
}
