// Package config reads Millrun's configuration: one YAML file, environment variables of the same names, and secrets
// from files.
//
// The names are those that operators use: a key `kafka.brokers` in YAML is MILLRUN_KAFKA_BROKERS in the environment,
// which wins. Every fault is found before anything starts and all of them are told at once.
package config

import "time"

// Config is everything an operator sets. The zero value of a field means its default, which Load fills in.
// It is read once and not changed afterwards, so it is safe for concurrent reading.
type Config struct {
	Kafka      Kafka             `yaml:"kafka"`
	Tenants    map[string]Tenant `yaml:"tenants"`
	Blob       Blob              `yaml:"blob"`
	Database   Database          `yaml:"database"`
	HTTP       HTTP              `yaml:"http"`
	Auth       Auth              `yaml:"auth"`
	Limits     Limits            `yaml:"limits"`
	Retention  Retention         `yaml:"retention"`
	Feed       Feed              `yaml:"feed"`
	Processors []Processor       `yaml:"processors"`
	Shop       Shop              `yaml:"shop"`
	Embedded   Embedded          `yaml:"embedded"`
}

// Kafka is where the topics are.
type Kafka struct {
	Brokers        []string `yaml:"brokers"`         // host:port. Required.
	SchemaRegistry string   `yaml:"schema_registry"` // URL, or mock:// for one in process. Default: none, Avro single-object encoding.
	Replication    int      `yaml:"replication"`     // bound on the replication factor that deploy/topics.yaml asks for. Default: 0, no bound.
	LogDir         string   `yaml:"log_dir"`         // the broker's log folder, where this machine can read it; for the proof of purges. Default: none.
}

// Tenant is a customer whose images are kept apart from all others'.
type Tenant struct {
	Class string `yaml:"class"` // what analysts see in its place. Default: standard.
}

// Blob is where bytes are.
type Blob struct {
	URL              string     `yaml:"url"`               // an endpoint; credentials by Azure's DefaultAzureCredential.
	ConnectionString string     `yaml:"connection_string"` // or a connection string; a secret, so file:PATH is welcome.
	Containers       Containers `yaml:"containers"`
	AllowMutable     bool       `yaml:"allow_mutable_archive"` // accept an archive that cannot promise immutability. Default: false.
}

// Containers names the four containers.
type Containers struct {
	Staging   string `yaml:"staging"`   // Default: staging.
	Archive   string `yaml:"archive"`   // Default: archive.
	Analytics string `yaml:"analytics"` // Default: analytics.
	Ledger    string `yaml:"ledger"`    // Default: ledger.
}

// Database is the shop's PostgreSQL.
type Database struct {
	URL         string                 `yaml:"url"`   // postgres://host:port/name without user.
	Admin       string                 `yaml:"admin"` // a superuser's URL, for access apply alone; a secret.
	Credentials map[string]Credentials `yaml:"credentials"`
}

// Credentials is one team's login.
type Credentials struct {
	User     string `yaml:"user"`
	Password string `yaml:"password"` // a secret
}

// HTTP is where the API listens.
type HTTP struct {
	Addr      string `yaml:"addr"`       // Default: 127.0.0.1:8080.
	PublicURL string `yaml:"public_url"` // what Location and status_url begin with. Default: http:// and the address.
	TLS       TLS    `yaml:"tls"`
}

// TLS is a server's certificate.
type TLS struct {
	Cert string `yaml:"cert"` // PEM file. Default: none, plain HTTP.
	Key  string `yaml:"key"`  // PEM file.
}

// Auth is who may call the API.
type Auth struct {
	APIKeys []APIKey `yaml:"api_keys"`
}

// APIKey is one caller. Exactly one of Tenant and Team is set, or neither for an operator.
type APIKey struct {
	Name   string   `yaml:"name"`
	Tenant string   `yaml:"tenant"`
	Team   string   `yaml:"team"`
	Scopes []string `yaml:"scopes"` // images:read, images:write, changes:TOPIC, operate, admin
	SHA256 string   `yaml:"sha256"` // hex digest of the key; the key itself is never stored.
}

// Limits bound what one image and one tenant may cost.
type Limits struct {
	FileBytes         int64         `yaml:"file_bytes"`          // Default: 50 MiB.
	Megapixels        int           `yaml:"megapixels"`          // width times height in millions. Default: 40.
	Side              int           `yaml:"side"`                // pixels. Default: 20000.
	Parts             int           `yaml:"parts"`               // of a multipart upload. Default: 100.
	BodyTimeout       time.Duration `yaml:"body_timeout"`        // for a request's body. Default: 60s.
	RequestsPerMinute int           `yaml:"requests_per_minute"` // a tenant. Default: 600.
	BytesPerMinute    int64         `yaml:"bytes_per_minute"`    // a tenant. Default: 2 GiB.
	DecodeMemory      int64         `yaml:"decode_memory"`       // bytes that decoded images may take at a time. Default: 512 MiB.
}

// Retention is how long images stay. Seven days is the product's promise: another number needs a reason.
type Retention struct {
	Days    int    `yaml:"days"`     // Default: 7.
	Reason  string `yaml:"reason"`   // required where Days is not 7.
	HMACKey string `yaml:"hmac_key"` // what the ledger names images with; a secret of at least 16 bytes.
}

// Feed is the company's own Kafka stream of images.
type Feed struct {
	Brokers   []string `yaml:"brokers"`    // Default: kafka.brokers.
	Topic     string   `yaml:"topic"`      // Default: company-images.
	Tenant    string   `yaml:"tenant"`     // for records that name none. Default: none; they become dead letters.
	AllowURLs []string `yaml:"allow_urls"` // https prefixes that an envelope may point to. Default: none.
}

// Processor is a step of the company's own code, run as a long-lived process.
type Processor struct {
	Name    string        `yaml:"name"`
	Version string        `yaml:"version"`
	Command []string      `yaml:"command"` // program and arguments
	Timeout time.Duration `yaml:"timeout"` // for one image. Default: 30s.
}

// Shop is what the order pipeline needs to know about the shop.
type Shop struct {
	Currency string `yaml:"currency"` // ISO 4217. Default: SGD.
}

// Embedded is written by `millrun up` and `millrun demo`: it ties a process to an installation on embedded parts.
type Embedded struct {
	Dir   string `yaml:"dir"`   // the installation's folder; its clock file moves every process together.
	Kafka bool   `yaml:"kafka"` // Kafka is embedded too, so that records carry the movable clock's time.
}
