package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestEmptyConfigurationGetsTheDefaults(t *testing.T) {
	t.Parallel()
	c, err := Load("", nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Retention.Days != 7 || c.Limits.FileBytes != 50<<20 || c.Blob.Containers.Archive != "archive" || c.HTTP.Addr != "127.0.0.1:8080" {
		t.Fatalf("defaults are %+v", c)
	}
}

func TestEnvironmentWinsOverTheFile(t *testing.T) {
	t.Parallel()
	path := write(t, "kafka: {brokers: [a:1]}\nlimits: {body_timeout: 5s}\n")
	c, err := Load(path, []string{
		"MILLRUN_KAFKA_BROKERS=b:2, c:3", "MILLRUN_LIMITS_SIDE=10", "MILLRUN_BLOB_ALLOW_MUTABLE_ARCHIVE=true",
		"MILLRUN_TENANTS={acme: {class: gold}}", "HOME=/nowhere",
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(c.Kafka.Brokers, ","); got != "b:2,c:3" {
		t.Errorf("brokers are %s", got)
	}
	if c.Limits.Side != 10 || !c.Blob.AllowMutable || c.Tenants["acme"].Class != "gold" || c.Limits.BodyTimeout != 5*time.Second {
		t.Errorf("settings are %+v", c)
	}
}

func TestSecretsComeFromFiles(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(secret, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(write(t, "database:\n  credentials:\n    sales: {user: sales_app, password: 'file:"+secret+"'}\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Database.Credentials["sales"].Password; got != "s3cret" {
		t.Fatalf("password is %q", got)
	}
}

func TestAllFaultsAreToldAtOnce(t *testing.T) {
	t.Parallel()
	_, err := Load(write(t, `
kafka: {brokers: [nowhere]}
blob: {url: "https://x", connection_string: "y", containers: {staging: archive}}
database: {url: "mysql://root:hunter2@h/d", credentials: {pirates: {user: x}}}
auth: {api_keys: [{name: k, tenant: ghost, sha256: abc, scopes: [fly]}]}
retention: {days: 3, hmac_key: short}
processors: [{name: a}]
`), nil)
	if !errors.Is(err, ErrInvalid) {
		t.Fatalf("error is %v", err)
	}
	for _, want := range []string{
		"kafka.brokers", "give url or connection_string", "two of them have one name", "database.url", "pirates", "64 hexadecimal",
		"ghost", "fly", "retention.reason", "retention.hmac_key", "processors[0]",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the message does not speak of %s:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the message gives a password away:\n%v", err)
	}
}

func TestUnknownKeysAreFaults(t *testing.T) {
	t.Parallel()
	if _, err := Load(write(t, "kafka: {broker: [a:1]}\n"), nil); !errors.Is(err, ErrInvalid) {
		t.Errorf("a misspelt key in the file: %v", err)
	}
	if _, err := Load("", []string{"MILLRUN_KAFKA_BROKER=a:1"}); !errors.Is(err, ErrInvalid) {
		t.Errorf("a misspelt variable: %v", err)
	}
}

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config.yaml")
	want := &Config{Kafka: Kafka{Brokers: []string{"h:1"}}, Tenants: map[string]Tenant{"demo": {Class: "standard"}}, Limits: Limits{BodyTimeout: time.Minute}}
	if err := Write(path, want); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.Kafka.Brokers[0] != "h:1" || got.Tenants["demo"].Class != "standard" {
		t.Fatalf("read back %+v", got)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the file is readable by others: %v %v", info.Mode(), err)
	}
}

func TestRequireNamesEveryMissingPart(t *testing.T) {
	t.Parallel()
	c, err := Load("", nil)
	if err != nil {
		t.Fatal(err)
	}
	err = c.Require(PartKafka, PartBlob, PartTenants, PartHMAC, PartDatabase, PartAdmin)
	if !errors.Is(err, ErrInvalid) {
		t.Fatalf("error is %v", err)
	}
	for _, want := range []string{"kafka.brokers", "blob", "tenants", "hmac_key", "database.url", "credentials.checkout", "database.admin"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the message does not speak of %s: %v", want, err)
		}
	}
}
