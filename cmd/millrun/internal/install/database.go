package install

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// shopDatabase is the name of the shop's database on the embedded server.
const shopDatabase = "shop"

// createShop makes the shop's database where it is not there yet, and returns the superuser's URL of it.
func createShop(ctx context.Context, admin string) (string, error) {
	conn, err := pgx.Connect(ctx, admin)
	if err != nil {
		return "", fmt.Errorf("install: %w", err)
	}
	_, err = conn.Exec(ctx, "CREATE DATABASE "+shopDatabase)
	var exists *pgconn.PgError
	if errors.As(err, &exists) && exists.Code == "42P04" {
		err = nil
	}
	if err := errors.Join(err, conn.Close(ctx)); err != nil {
		return "", fmt.Errorf("install: %w", err)
	}
	u, err := url.Parse(admin)
	if err != nil {
		return "", fmt.Errorf("install: the database's URL: %w", err)
	}
	u.Path = "/" + shopDatabase
	return u.String(), nil
}
