package demo

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/millrun/millrun/internal/events"
)

// burst is how many pictures and as many orders are under way when the worker dies.
const burst = 30

// crash kills the worker process, with images and orders half done, and starts it again.
func (s *story) crash(ctx context.Context) error {
	s.rep.step(7, "The worker is killed without warning, and comes back")
	photos, err := variants(s.firstDecoding(), burst, 0xa5)
	if err != nil {
		return err
	}
	batch := map[string]*photo{}
	before := len(s.orders.placed)
	for i, p := range photos {
		if err := s.offer(ctx, p); err != nil {
			return err
		}
		batch[p.id] = p
		if i == burst/3 {
			if err := s.killInTheMiddle(ctx, batch); err != nil {
				return err
			}
		}
	}
	if s.worker, err = startWorker(s.in.Dir); err != nil {
		return err
	}
	s.rep.check("every image of the burst is archived after all", func() (string, error) { return s.awaitFinal(ctx, batch, 2*time.Minute) })
	s.rep.check("the archive holds each of them exactly once", func() (string, error) {
		raw := map[string]int{}
		names, err := s.blobs.names(ctx, s.in.Config.Blob.Containers.Archive, "raw/")
		if err != nil {
			return "", err
		}
		for name, versions := range names {
			if batch[imageOf(name)] != nil {
				raw[imageOf(name)] += versions
			}
		}
		for id := range batch {
			if raw[id] != 1 {
				return "", fmt.Errorf("%s is there %d times", id, raw[id])
			}
		}
		return fmt.Sprintf("%d of %d", len(raw), burst), nil
	})
	s.rep.check("every order took effect exactly once", func() (string, error) { return s.exactOrders(ctx, before) })
	return ctx.Err()
}

// offer uploads a picture and places an order.
func (s *story) offer(ctx context.Context, p *photo) error {
	ans, _, err := s.api.upload(ctx, "image/png", p.bytes)
	if err != nil {
		return err
	}
	if err := ans.want(http.StatusAccepted); err != nil {
		return err
	}
	s.photos = append(s.photos, p)
	s.took(p, events.OriginAPI)
	return s.place(ctx, "paid", "paid", 1, 1, "3.20", "1.200")
}

// killInTheMiddle waits for the first image of the burst to be under way, so that there is something to lose.
func (s *story) killInTheMiddle(ctx context.Context, batch map[string]*photo) error {
	err := await(ctx, 30*time.Second, func() error {
		for id := range batch {
			if _, st, err := s.api.status(ctx, id); err == nil && st.Status != "accepted" {
				return nil
			}
		}
		return fmt.Errorf("none of %d images is under way", len(batch))
	})
	if err != nil {
		return err
	}
	return s.worker.kill()
}

func (s *story) exactOrders(ctx context.Context, before int) (string, error) {
	err := await(ctx, time.Minute, func() error { return s.compareOrders(ctx) })
	if err != nil {
		return "", err
	}
	var lines int
	err = s.as(ctx, "admin", func(c *pgx.Conn) error {
		ids := make([]string, 0, burst)
		for _, o := range s.orders.placed[before:] {
			ids = append(ids, o.id)
		}
		return c.QueryRow(ctx, "SELECT count(*) FROM shop.transaction_lines WHERE transaction_id = ANY($1)", ids).Scan(&lines)
	})
	if err == nil && lines != burst {
		err = fmt.Errorf("%d order lines, want %d", lines, burst)
	}
	return fmt.Sprintf("%d orders, %d lines", len(s.orders.placed)-before, lines), err
}
