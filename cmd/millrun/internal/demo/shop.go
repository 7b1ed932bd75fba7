package demo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/twmb/franz-go/pkg/kgo"
)

// order is what the story ordered, with what the shop must make of it.
type order struct {
	id     string
	status string // in which it must end
	count  int
	price  string
	weight string
}

// orders is the state of the shop's part of the story.
type orders struct {
	member string
	items  []string
	placed []order
}

// event is a change event in JSON.
type event map[string]any

func (s *story) event(fields event) event {
	e := event{"event_id": uuid.NewString(), "occurred_at": s.in.Clock.Now().UTC().Format(time.RFC3339Nano)}
	maps.Copy(e, fields)
	return e
}

// publish sends an event under the key of the team that owns the topic.
func (s *story) publish(ctx context.Context, team, topic string, e event) (answer, error) {
	a := api{url: s.api.url, key: s.in.Connection.TeamKeys[team]}
	return a.change(ctx, topic, e)
}

func (s *story) mustPublish(ctx context.Context, team, topic string, events ...event) error {
	for _, e := range events {
		ans, err := s.publish(ctx, team, topic, e)
		if err != nil {
			return err
		}
		if err := ans.want(http.StatusAccepted); err != nil {
			return fmt.Errorf("%s: %w", topic, err)
		}
	}
	return nil
}

// shop adds items, places and completes orders, and tries what is not allowed.
func (s *story) shop(ctx context.Context) error {
	s.rep.step(5, "Order changes reach the shop under the credentials of the team that owns them")
	s.rep.check("membership adds a member, sales adds items, checkout places orders, logistics completes them", func() (string, error) {
		return s.trade(ctx)
	})
	s.rep.check("the database has computed count, price and weight of every order", func() (string, error) {
		return fmt.Sprintf("%d orders", len(s.orders.placed)), await(ctx, 60*time.Second, func() error { return s.compareOrders(ctx) })
	})
	s.rep.check("completing an order that is not paid is a dead letter, and changes nothing", func() (string, error) {
		return s.illegal(ctx)
	})
	s.rep.check("a status that is not Logistics' right is a dead letter with its SQLSTATE", func() (string, error) {
		return s.notTheirs(ctx)
	})
	s.rep.check("a team's key is refused on another team's topic with 403, an unknown field with 422", func() (string, error) {
		ans, err := s.publish(ctx, "sales", "orders.completed", s.event(event{"transaction_id": s.orders.placed[0].id, "status": "completed"}))
		if err != nil {
			return "", err
		}
		if err := ans.want(http.StatusForbidden); err != nil {
			return "", err
		}
		ans, err = s.publish(ctx, "sales", "items.changes", s.event(event{"op": "remove", "item_id": s.orders.items[2], "colour": "blue"}))
		if err != nil {
			return "", err
		}
		return "", ans.want(http.StatusUnprocessableEntity)
	})
	s.mayAndMayNot(ctx)
	return ctx.Err()
}

func (s *story) trade(ctx context.Context) (string, error) {
	o := &s.orders
	o.member = "Tan_" + uuid.NewString()[:5]
	err := s.mustPublish(ctx, "membership", "members.changes", s.event(event{
		"op": "join", "membership_id": o.member, "first_name": "Mei", "last_name": "Tan",
		"email": "mei." + o.member[4:] + "@emailprovider.com", "mobile_no": "91234567", "date_of_birth": "1990-02-14",
	}))
	for i, item := range []struct{ cost, weight string }{{"12.50", "0.350"}, {"3.20", "1.200"}, {"99.99", "4.000"}} {
		id := uuid.NewString()
		o.items = append(o.items, id)
		err = errors.Join(err, s.mustPublish(ctx, "sales", "items.changes", s.event(event{
			"op": "add", "item_id": id, "item_name": fmt.Sprintf("Item %d %s", i, id[:8]), "manufacturer": "Mill & Co", "cost": item.cost, "weight_kg": item.weight,
		})))
	}
	err = errors.Join(err, s.place(ctx, "paid", "completed", 2, 0, "25.00", "0.700"), s.place(ctx, "paid", "shipped", 3, 1, "9.60", "3.600"),
		s.place(ctx, "pending", "pending", 1, 0, "12.50", "0.350"))
	if err != nil {
		return "", err
	}
	for _, to := range []event{{"transaction_id": o.placed[0].id, "status": "shipped"}, {"transaction_id": o.placed[0].id, "status": "completed"}, {"transaction_id": o.placed[1].id, "status": "shipped"}} {
		if err := s.mustPublish(ctx, "logistics", "orders.completed", s.event(to)); err != nil {
			return "", err
		}
	}
	// Never sold, so it is deleted rather than retired.
	return "", s.mustPublish(ctx, "sales", "items.changes", s.event(event{"op": "remove", "item_id": o.items[2]}))
}

// place orders n pieces of one item.
func (s *story) place(ctx context.Context, status, end string, n, item int, price, weight string) error {
	id := uuid.NewString()
	s.orders.placed = append(s.orders.placed, order{id: id, status: end, count: n, price: price, weight: weight})
	return s.mustPublish(ctx, "checkout", "orders.placed", s.event(event{
		"transaction_id": id, "membership_id": s.orders.member, "status": status,
		"lines": []event{{"item_id": s.orders.items[item], "quantity": n}},
	}))
}

// compareOrders reads what the shop really holds, as its superuser.
func (s *story) compareOrders(ctx context.Context) error {
	return s.as(ctx, "admin", func(c *pgx.Conn) error {
		for _, want := range s.orders.placed {
			var got order
			err := c.QueryRow(ctx, `SELECT transaction_id, status, total_items_count, total_items_price::text, total_items_weight_kg::text
				FROM shop.transactions WHERE transaction_id = $1`, want.id).Scan(&got.id, &got.status, &got.count, &got.price, &got.weight)
			if err != nil {
				return fmt.Errorf("order %s: %w", want.id, err)
			}
			if got != want {
				return fmt.Errorf("the shop has %+v, want %+v", got, want)
			}
		}
		return nil
	})
}

// as runs f on a connection of one login.
func (s *story) as(ctx context.Context, login string, f func(*pgx.Conn) error) error {
	c, err := pgx.Connect(ctx, s.in.Connection.Databases[login])
	if err != nil {
		return fmt.Errorf("demo: as %s: %w", login, err)
	}
	return errors.Join(f(c), c.Close(ctx))
}

func (s *story) illegal(ctx context.Context) (string, error) {
	pending := s.orders.placed[2]
	e := s.event(event{"transaction_id": pending.id, "status": "completed"})
	if err := s.mustPublish(ctx, "logistics", "orders.completed", e); err != nil {
		return "", err
	}
	letter, err := s.letterOf(ctx, "orders.completed", e)
	if err != nil {
		return "", err
	}
	return header(letter, "__streams.errors.message"), s.compareOrders(ctx)
}

// letterOf finds the dead letter of an event, by its event_id.
func (s *story) letterOf(ctx context.Context, topic string, e event) (*kgo.Record, error) {
	id, _ := e["event_id"].(string)
	return s.findRecord(ctx, topic+".dlq", func(r *kgo.Record) bool { return contains(r.Value, id) })
}

func (s *story) notTheirs(ctx context.Context) (string, error) {
	e := s.event(event{"transaction_id": s.orders.placed[1].id, "status": "refunded"})
	// The API would refuse the value at its door; a producer inside the cluster does not ask it.
	if err := s.produceJSON(ctx, "orders.completed", s.orders.placed[1].id, e); err != nil {
		return "", err
	}
	letter, err := s.letterOf(ctx, "orders.completed", e)
	if err != nil {
		return "", err
	}
	state := header(letter, "__millrun.sqlstate")
	if state != "42501" && state != "SH002" {
		return "", fmt.Errorf("SQLSTATE %q (%s), want 42501 or SH002", state, header(letter, "__streams.errors.message"))
	}
	return "SQLSTATE " + state + " as " + header(letter, "__millrun.credential"), s.compareOrders(ctx)
}

// mayAndMayNot lets three teams read what they may, and try what they may not.
func (s *story) mayAndMayNot(ctx context.Context) {
	id := s.orders.placed[0].id
	for _, t := range []struct{ team, login, may, mayNot string }{
		{"Logistics reads sales with weights, not prices", "logistics_app", "SELECT total_items_weight_kg FROM logistics.sales_details WHERE transaction_id = $1", "SELECT total_items_price FROM shop.transactions WHERE transaction_id = $1"},
		{"Analytics reads sales, and updates nothing even when it asks for a writable transaction", "analytics_ro", "SELECT line_price FROM analytics.sales WHERE transaction_id = $1", "UPDATE shop.transactions SET status = 'cancelled' WHERE transaction_id = $1"},
		{"Sales reads items, not transactions", "sales_app", "SELECT cost FROM shop.items WHERE $1 <> ''", "SELECT * FROM shop.transactions WHERE transaction_id = $1"},
	} {
		s.rep.check(t.team, func() (string, error) {
			return "42501", s.as(ctx, t.login, func(c *pgx.Conn) error {
				var n int
				if err := c.QueryRow(ctx, "SELECT count(*) FROM ("+t.may+") q", id).Scan(&n); err != nil || n == 0 {
					return fmt.Errorf("it reads %d rows: %w", n, err)
				}
				if _, err := c.Exec(ctx, "SET default_transaction_read_only = off"); err != nil {
					return err
				}
				var refusal *pgconn.PgError
				if _, err := c.Exec(ctx, t.mayNot, id); !errors.As(err, &refusal) || refusal.Code != "42501" {
					return fmt.Errorf("not refused with 42501: %w", errors.Join(err, errors.New(t.mayNot)))
				}
				return nil
			})
		})
	}
}
