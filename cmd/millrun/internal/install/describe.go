package install

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"github.com/millrun/millrun/connectors/postgres/access"
	"github.com/millrun/millrun/internal/config"
	"github.com/millrun/millrun/internal/loopback"
)

// describe writes down the running parts as configuration and as connection. The address of the API is drawn here, so
// that whoever serves it later finds it in the configuration.
func (i *Installation) describe(o Options, s *secrets) (*config.Config, *Connection, error) {
	addr, err := freeAddr(o.HTTPPort)
	if err != nil {
		return nil, nil, err
	}
	blobAddr, err := i.blob.Listen(loopback.Addr(o.BlobPort))
	if err != nil {
		return nil, nil, err
	}
	c := &config.Config{
		Tenants:   map[string]config.Tenant{},
		Blob:      config.Blob{ConnectionString: i.blob.ConnectionString(blobAddr)},
		HTTP:      config.HTTP{Addr: addr, PublicURL: "http://" + addr},
		Auth:      config.Auth{APIKeys: s.apiKeys()},
		Retention: config.Retention{HMACKey: s.LedgerKey},
		Feed:      config.Feed{Tenant: o.FeedTenant},
		Limits:    o.Limits,
		Embedded:  config.Embedded{Dir: i.Dir, Kafka: o.External == nil},
	}
	if o.Sample {
		if c.Processors, err = SampleSteps(); err != nil {
			return nil, nil, err
		}
	}
	for _, t := range o.Tenants {
		c.Tenants[t] = config.Tenant{Class: "standard"}
	}
	admin := i.placeServers(o, c)
	conn := &Connection{
		HTTPURL: c.HTTP.PublicURL, APIKeys: s.APIKeys, TeamKeys: s.TeamKeys, OperatorKey: s.Operator,
		KafkaBrokers: c.Kafka.Brokers, BlobConnectionString: c.Blob.ConnectionString,
		Databases: map[string]string{"admin": admin}, Admin: admin, PID: os.Getpid(),
	}
	return c, conn, i.describeDatabase(c, conn, s, admin)
}

// placeServers says where Kafka and the database are, and returns the superuser's URL.
func (i *Installation) placeServers(o Options, c *config.Config) string {
	if o.External != nil {
		c.Kafka = o.External.Kafka
		return o.External.Database.Admin
	}
	c.Kafka = config.Kafka{Brokers: i.Kafka.Brokers(), Replication: 1}
	return i.admin
}

func (i *Installation) describeDatabase(c *config.Config, conn *Connection, s *secrets, admin string) error {
	u, err := url.Parse(admin)
	if err != nil {
		return fmt.Errorf("install: the database's URL: %w", err)
	}
	u.User = nil
	c.Database = config.Database{URL: u.String(), Admin: admin, Credentials: map[string]config.Credentials{}}
	for team, login := range logins {
		c.Database.Credentials[team] = config.Credentials{User: login, Password: s.Logins[login]}
		if conn.Databases[login], err = access.LoginURL(admin, login, s.Logins[login]); err != nil {
			return err
		}
	}
	return nil
}

// WriteConnection tells the outside that everything is ready.
func (i *Installation) WriteConnection() error {
	return writeJSON(filepath.Join(i.Dir, ConnectionFile), i.Connection)
}

// TeamTopic is the change topic that a team owns, or "".
func TeamTopic(team string) string { return teamTopics[team] }
