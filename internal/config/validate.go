package config

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Teams are the logins' names under database.credentials and in API keys.
var Teams = []string{"logistics", "sales", "analytics", "checkout", "membership"}

func (c *Config) setDefaults() {
	setDefault(&c.Blob.Containers.Staging, "staging")
	setDefault(&c.Blob.Containers.Archive, "archive")
	setDefault(&c.Blob.Containers.Analytics, "analytics")
	setDefault(&c.Blob.Containers.Ledger, "ledger")
	setDefault(&c.HTTP.Addr, "127.0.0.1:8080")
	setDefault(&c.HTTP.PublicURL, "http://"+c.HTTP.Addr)
	setDefault(&c.Limits.FileBytes, 50<<20)
	setDefault(&c.Limits.Megapixels, 40)
	setDefault(&c.Limits.Side, 20_000)
	setDefault(&c.Limits.Parts, 100)
	setDefault(&c.Limits.BodyTimeout, time.Minute)
	setDefault(&c.Limits.RequestsPerMinute, 600)
	setDefault(&c.Limits.BytesPerMinute, 2<<30)
	setDefault(&c.Limits.DecodeMemory, 512<<20)
	setDefault(&c.Retention.Days, 7)
	setDefault(&c.Feed.Topic, "company-images")
	setDefault(&c.Shop.Currency, "SGD")
	if len(c.Feed.Brokers) == 0 {
		c.Feed.Brokers = c.Kafka.Brokers
	}
	for name, t := range c.Tenants {
		setDefault(&t.Class, "standard")
		c.Tenants[name] = t
	}
	for i := range c.Processors {
		setDefault(&c.Processors[i].Timeout, 30*time.Second)
	}
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// faults collects what is wrong, each with its key.
type faults []error

func (f *faults) addf(key, format string, args ...any) {
	*f = append(*f, fmt.Errorf("%s: "+format, append([]any{key}, args...)...))
}

// validate reports everything that no role could work with. What only some roles need, such as the database, is asked
// for by Require.
func (c *Config) validate() error {
	var f faults
	c.checkKafka(&f)
	c.checkBlob(&f)
	c.checkDatabase(&f)
	c.checkAuth(&f)
	c.checkRetention(&f)
	c.checkProcessors(&f)
	for key, n := range map[string]int64{
		"limits.file_bytes": c.Limits.FileBytes, "limits.megapixels": int64(c.Limits.Megapixels), "limits.side": int64(c.Limits.Side),
		"limits.parts": int64(c.Limits.Parts), "limits.body_timeout": int64(c.Limits.BodyTimeout), "limits.decode_memory": c.Limits.DecodeMemory,
		"limits.requests_per_minute": int64(c.Limits.RequestsPerMinute), "limits.bytes_per_minute": c.Limits.BytesPerMinute,
	} {
		if n < 0 {
			f.addf(key, "%d is negative", n)
		}
	}
	if (c.HTTP.TLS.Cert == "") != (c.HTTP.TLS.Key == "") {
		f.addf("http.tls", "cert and key belong together")
	}
	if _, _, err := net.SplitHostPort(c.HTTP.Addr); err != nil {
		f.addf("http.addr", "want host:port: %w", err)
	}
	slices.SortFunc(f, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(f...)
}

func (c *Config) checkKafka(f *faults) {
	for _, b := range slices.Concat(c.Kafka.Brokers, c.Feed.Brokers) {
		if _, _, err := net.SplitHostPort(b); err != nil {
			f.addf("kafka.brokers", "want host:port: %w", err)
		}
	}
	if r := c.Kafka.SchemaRegistry; r != "" && !strings.HasPrefix(r, "mock://") {
		checkURL(f, "kafka.schema_registry", r, "http", "https")
	}
}

func (c *Config) checkBlob(f *faults) {
	if c.Blob.URL != "" && c.Blob.ConnectionString != "" {
		f.addf("blob", "give url or connection_string, not both")
	}
	if c.Blob.URL != "" {
		checkURL(f, "blob.url", c.Blob.URL, "http", "https")
	}
	names := []string{c.Blob.Containers.Staging, c.Blob.Containers.Archive, c.Blob.Containers.Analytics, c.Blob.Containers.Ledger}
	slices.Sort(names)
	if len(slices.Compact(names)) != 4 {
		f.addf("blob.containers", "two of them have one name; each needs its own rules")
	}
}

func (c *Config) checkDatabase(f *faults) {
	if c.Database.URL != "" {
		checkURL(f, "database.url", c.Database.URL, "postgres", "postgresql")
	}
	for team, cred := range c.Database.Credentials {
		if !slices.Contains(Teams, team) {
			f.addf("database.credentials", "%q is no team; teams are %s", team, strings.Join(Teams, ", "))
		}
		if cred.User == "" || cred.Password == "" {
			f.addf("database.credentials."+team, "user and password are both needed")
		}
	}
}

// checkURL says what is wrong without the URL itself, which may hold a password.
func checkURL(f *faults, key, s string, schemes ...string) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || !slices.Contains(schemes, u.Scheme) {
		f.addf(key, "want a URL that begins with %s:// and names a host", strings.Join(schemes, ":// or "))
	}
}

func (c *Config) checkAuth(f *faults) {
	for i, k := range c.Auth.APIKeys {
		key := fmt.Sprintf("auth.api_keys[%d]", i)
		if b, err := hex.DecodeString(k.SHA256); err != nil || len(b) != 32 {
			f.addf(key, "sha256 must be 64 hexadecimal digits")
		}
		if k.Tenant != "" && k.Team != "" {
			f.addf(key, "a key belongs to a tenant or a team, not both")
		}
		if _, known := c.Tenants[k.Tenant]; k.Tenant != "" && !known {
			f.addf(key, "tenant %q is not under tenants", k.Tenant)
		}
		if k.Team != "" && !slices.Contains(Teams, k.Team) {
			f.addf(key, "%q is no team; teams are %s", k.Team, strings.Join(Teams, ", "))
		}
		for _, s := range k.Scopes {
			if !validScope(s) {
				f.addf(key, "scope %q is none of images:read, images:write, changes:TOPIC, operate, admin", s)
			}
		}
	}
}

func validScope(s string) bool {
	if topic, ok := strings.CutPrefix(s, "changes:"); ok {
		return topic != ""
	}
	return slices.Contains([]string{"images:read", "images:write", "operate", "admin"}, s)
}

func (c *Config) checkRetention(f *faults) {
	if c.Retention.Days < 1 {
		f.addf("retention.days", "%d is less than one day", c.Retention.Days)
	}
	if c.Retention.Days != 7 && c.Retention.Reason == "" {
		f.addf("retention.reason", "%d days instead of 7 need a reason", c.Retention.Days)
	}
	if k := c.Retention.HMACKey; k != "" && len(k) < 16 {
		f.addf("retention.hmac_key", "shorter than 16 bytes")
	}
	if t := c.Feed.Tenant; t != "" {
		if _, known := c.Tenants[t]; !known {
			f.addf("feed.tenant", "tenant %q is not under tenants", t)
		}
	}
}

func (c *Config) checkProcessors(f *faults) {
	seen := map[string]bool{}
	for i, p := range c.Processors {
		key := fmt.Sprintf("processors[%d]", i)
		if p.Name == "" || p.Version == "" || len(p.Command) == 0 {
			f.addf(key, "name, version and command are all needed")
		}
		if seen[p.Name] {
			f.addf(key, "the name %q is taken by another step", p.Name)
		}
		seen[p.Name] = true
	}
}
