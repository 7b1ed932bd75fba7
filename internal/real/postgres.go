package real

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/millrun/millrun/internal/pgd"
)

// startPostgres starts the same binaries that the product embeds, as a server of its own.
func startPostgres(ctx context.Context, dir string) (*instance, error) {
	s, err := pgd.Start(ctx, pgd.Config{Dir: dir, Ephemeral: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, fmt.Errorf("real: %w", err)
	}
	return &instance{
		endpoint: Endpoint{PID: s.PID(), URL: s.AdminURL()},
		done:     s.Done(),
		stop:     func(context.Context) error { return s.Close() },
	}, nil
}
