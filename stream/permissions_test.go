package stream_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/millrun/millrun/internal/real"
	"github.com/millrun/millrun/stream"
)

// A grant is what an application's principal must be allowed, and what is said where it is not.
type grant struct {
	resource kmsg.ACLResourceType
	name     string
	may      kmsg.ACLOperation
	says     string
	only     bool // under exactly-once
}

const granted = "rights"

// grants are all that word count needs; docs/stream.md lists them.
func grants() []grant {
	const (
		topic    = kmsg.ACLResourceTypeTopic
		internal = "Create, Read, Write and Delete on topics with the prefix rights-"
	)
	return []grant{
		{topic, "lines", kmsg.ACLOperationRead, `source topic "lines": TOPIC_AUTHORIZATION_FAILED`, false},
		{topic, "word-counts", kmsg.ACLOperationWrite, `sink topic "word-counts": TOPIC_AUTHORIZATION_FAILED`, false},
		{topic, "rights-", kmsg.ACLOperationCreate, internal, false},
		{topic, "rights-", kmsg.ACLOperationRead, internal, false},
		{topic, "rights-", kmsg.ACLOperationWrite, internal, false},
		{topic, "rights-", kmsg.ACLOperationDelete, internal, false},
		{kmsg.ACLResourceTypeGroup, granted, kmsg.ACLOperationRead, "Read on group rights", false},
		{kmsg.ACLResourceTypeTransactionalId, "rights-", kmsg.ACLOperationWrite, "Write on transactional ids with the prefix rights-", true},
	}
}

func (g grant) pattern() kmsg.ACLResourcePatternType {
	if strings.HasSuffix(g.name, "-") {
		return kmsg.ACLResourcePatternTypePrefixed
	}
	return kmsg.ACLResourcePatternTypeLiteral
}

// without are all grants but one.
func without(missing int) (have []grant) {
	for i, g := range grants() {
		if i != missing {
			have = append(have, g)
		}
	}
	return have
}

func as(user, password string) []kgo.Opt {
	return []kgo.Opt{kgo.SASL(plain.Auth{User: user, Pass: password}.AsMechanism())}
}

// attempt runs word count until it ends by itself, or has done enough.
func attempt(t *testing.T, cfg stream.Config, enough func(j *journal) bool) (*journal, error) {
	t.Helper()
	var j journal
	cfg.ApplicationID, cfg.CommitInterval = granted, 10*time.Millisecond
	cfg.Log = slog.New(slog.NewTextHandler(&j, nil))
	a, err := stream.NewApp(wordCount(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	for {
		select {
		case err := <-done:
			if ctx.Err() != nil {
				t.Errorf("it neither ended nor did enough within %s", patience)
			}
			return &j, err
		case <-time.After(50 * time.Millisecond):
		}
		if enough != nil && enough(&j) {
			cancel()
			return &j, <-done
		}
	}
}

// checkGrant looks at what an application says that lacks one right, or none.
func checkGrant(t *testing.T, c *cluster, missing grant, cfg stream.Config) {
	t.Helper()
	c.produce("lines", pair{"", "a b"})
	want := "an error that says " + strconv.Quote(missing.says)
	var enough func(*journal) bool
	switch {
	case missing.name == "" || missing.only && cfg.Guarantee != stream.ExactlyOnce:
		want = "no error, and work done"
		before := c.counted()
		enough = func(*journal) bool { return c.counted() > before }
	case missing.may == kmsg.ACLOperationDelete: // the topic grows; that is no reason to stop
		enough = func(j *journal) bool { return j.says("were not purged") && j.says(missing.says) }
		want = "a warning"
	}
	_, err := attempt(t, cfg, enough)
	switch {
	case enough != nil && err == nil:
	case enough == nil && err != nil && strings.Contains(err.Error(), missing.says) && !strings.Contains(err.Error(), "FENCED"):
	default:
		t.Errorf("%v without %v on %s: %v, want %s", cfg.Guarantee, missing.may, missing.name, err, want)
	}
}

// counted is how much of the repartition topic word count has done and committed.
func (c *cluster) counted() int64 {
	offsets, err := c.admin.FetchOffsets(c.ctx(), granted)
	if err != nil {
		return -1
	}
	o, _ := offsets.Lookup("rights-counts-repartition", 0)
	return o.At
}

// missings are all grants, and none.
func missings() []grant { return append(grants(), grant{}) }

func TestAMissingRightIsNamed(t *testing.T) {
	t.Parallel()
	for i, missing := range missings() {
		for _, guarantee := range []stream.Guarantee{stream.AtLeastOnce, stream.ExactlyOnce} {
			t.Run(fmt.Sprint(missing.name, missing.may, guarantee), func(t *testing.T) {
				t.Parallel()
				var acls []kfake.ACL
				for _, g := range without(i) {
					acls = append(acls, kfake.ACL{Resource: g.resource, Name: g.name, Pattern: g.pattern(), Operation: g.may, Allow: true})
				}
				k, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser("PLAIN", "admin", "admin"),
					kfake.User("PLAIN", "worker", "secret", acls...), kfake.SeedTopics(1, "lines", "word-counts"))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(k.Close)
				c := connect(t, k.ListenAddrs(), as("admin", "admin")...)
				checkGrant(t, c, missing, stream.Config{Brokers: c.brokers, ClientOptions: as("worker", "secret"), Guarantee: guarantee})
			})
		}
	}
}

func TestABrokerWithAStrangersCertificateIsNotAskedAgain(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	k, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.TLS(&tls.Config{Certificates: server.TLS.Certificates}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	trust := kgo.DialTLSConfig(&tls.Config{RootCAs: x509.NewCertPool()})
	_, err = attempt(t, stream.Config{Brokers: k.ListenAddrs(), ClientOptions: []kgo.Opt{trust}}, nil)
	if err == nil || !strings.Contains(err.Error(), "the authority that signed the brokers' certificates") {
		t.Errorf("%v, want the remedy", err)
	}
}

func TestApacheKafkaNamesAMissingRight(t *testing.T) {
	t.Parallel()
	users := `org.apache.kafka.common.security.plain.PlainLoginModule required`
	for i := range len(grants()) + 1 {
		users += fmt.Sprintf(` user_w%d="secret"`, i)
	}
	b := real.KafkaBroker(t, real.BrokerOptions{Dir: t.TempDir(), Proxies: []string{"127.0.0.1:1"}, Config: map[string]string{
		"listener.security.protocol.map":               "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,PROXY0:SASL_PLAINTEXT",
		"listener.name.proxy0.sasl.enabled.mechanisms": "PLAIN",
		"listener.name.proxy0.plain.sasl.jaas.config":  users + ";",
		"authorizer.class.name":                        "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"super.users":                                  "User:ANONYMOUS",
	}})
	c := connect(t, []string{b.Addr()})
	c.topics(1, "lines", "word-counts")
	var d net.Dialer
	through := kgo.Dialer(func(ctx context.Context, network, _ string) (net.Conn, error) {
		return d.DialContext(ctx, network, b.Behind(0))
	})
	cfg := stream.Config{Brokers: []string{b.Behind(0)}}
	for i, missing := range missings() { // one after another: they are one application
		user := fmt.Sprintf("w%d", i)
		for _, g := range without(i) {
			c.allow(user, g)
		}
		cfg.ClientOptions = append(as(user, "secret"), through)
		for _, cfg.Guarantee = range []stream.Guarantee{stream.AtLeastOnce, stream.ExactlyOnce} {
			checkGrant(t, c, missing, cfg)
		}
	}
	cfg.ClientOptions = append(as("w0", "hunter2"), through)
	j, err := attempt(t, cfg, nil)
	if err == nil || !strings.Contains(err.Error(), "check user and password in Config.ClientOptions") {
		t.Errorf("a wrong password: %v", err)
	}
	if strings.Contains(fmt.Sprint(err), "hunter2") || j.says("hunter2") {
		t.Error("the password is shown")
	}
}

// allow grants a right.
func (c *cluster) allow(user string, g grant) {
	c.t.Helper()
	b := kadm.NewACLs().Allow("User:" + user).Operations(g.may).ResourcePatternType(g.pattern())
	switch g.resource {
	case kmsg.ACLResourceTypeTopic:
		b.Topics(g.name)
	case kmsg.ACLResourceTypeGroup:
		b.Groups(g.name)
	default:
		b.TransactionalIDs(g.name)
	}
	created, err := c.admin.CreateACLs(c.ctx(), b)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, r := range created {
		if r.Err != nil {
			c.t.Fatal(r.Err)
		}
	}
}
