package config

import (
	"errors"
	"fmt"
)

// Part is a piece of the configuration that some commands cannot do without.
type Part int

// The parts that a role or command can ask for.
const (
	PartKafka    Part = iota // kafka.brokers
	PartBlob                 // blob.url or blob.connection_string
	PartTenants              // at least one tenant
	PartHMAC                 // retention.hmac_key
	PartDatabase             // database.url and credentials of every team that applies changes
	PartAdmin                // database.admin
)

// Require reports every part that is missing, as ErrInvalid, with the keys that supply it.
func (c *Config) Require(parts ...Part) error {
	var f faults
	for _, p := range parts {
		c.require(&f, p)
	}
	if len(f) == 0 {
		return nil
	}
	return fmt.Errorf("%w:\n%w", ErrInvalid, errors.Join(f...))
}

func (c *Config) require(f *faults, p Part) {
	switch p {
	case PartKafka:
		if len(c.Kafka.Brokers) == 0 {
			f.addf("kafka.brokers", "missing; set it in the file or as MILLRUN_KAFKA_BROKERS")
		}
	case PartBlob:
		if c.Blob.URL == "" && c.Blob.ConnectionString == "" {
			f.addf("blob", "neither url nor connection_string is set")
		}
	case PartTenants:
		if len(c.Tenants) == 0 {
			f.addf("tenants", "none; every image belongs to one")
		}
	case PartHMAC:
		if c.Retention.HMACKey == "" {
			f.addf("retention.hmac_key", "missing; the ledger names images by it, best given as file:PATH")
		}
	case PartDatabase:
		if c.Database.URL == "" {
			f.addf("database.url", "missing")
		}
		for _, team := range []string{"logistics", "sales", "checkout", "membership"} {
			if _, ok := c.Database.Credentials[team]; !ok {
				f.addf("database.credentials."+team, "missing; its changes are applied under its own login")
			}
		}
	case PartAdmin:
		if c.Database.Admin == "" {
			f.addf("database.admin", "missing; access apply needs a superuser's URL")
		}
	}
}
