package roles

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"

	"github.com/millrun/millrun/connectors/azblob"
	"github.com/millrun/millrun/connectors/httpin"
	"github.com/millrun/millrun/internal/config"
)

// api is the door for applications and teams.
func (s *Set) api(ctx context.Context) ([]role, error) {
	d, err := s.doors(ctx)
	if err != nil {
		return nil, err
	}
	purged := azblob.NewPurgedSet(d.account, s.ledger())
	server, err := httpin.New(httpin.Config{
		Archive: d.archive, Checks: s.checks, Clock: s.Clock, Codec: d.codec, Intake: d.intake,
		Kafka: s.kafka(), Keys: apiKeys(s.Config.Auth.APIKeys), Limits: apiLimits(s.Config.Limits), Log: s.Log,
		PublicURL: s.Config.HTTP.PublicURL, Purged: purged, Registry: s.metrics, Stamp: s.stamp(), Tenants: s.classes(),
	})
	if err != nil {
		return nil, err
	}
	return []role{{name: API, run: func(ctx context.Context, ready func()) error {
		l, err := listen(ctx, s.Config.HTTP)
		if err != nil {
			server.Close()
			return err
		}
		ready()
		return server.Serve(ctx, l)
	}}, {name: "purged", run: func(ctx context.Context, ready func()) error {
		ready()
		return purged.Run(ctx, purgedRefresh)
	}}}, nil
}

// listen opens the API's address, with TLS where a certificate is configured.
func listen(ctx context.Context, h config.HTTP) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", h.Addr)
	if err != nil {
		return nil, fmt.Errorf("http.addr: %w", err)
	}
	if h.TLS.Cert == "" {
		return l, nil
	}
	cert, err := tls.LoadX509KeyPair(h.TLS.Cert, h.TLS.Key)
	if err != nil {
		return nil, fmt.Errorf("http.tls: %w", err)
	}
	return tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}), nil
}

func apiKeys(configured []config.APIKey) []httpin.Key {
	var keys []httpin.Key
	for _, k := range configured {
		keys = append(keys, httpin.Key{Name: k.Name, Tenant: k.Tenant, Team: k.Team, Scopes: k.Scopes, SHA256: k.SHA256})
	}
	return keys
}

func apiLimits(l config.Limits) httpin.Limits {
	return httpin.Limits{Parts: l.Parts, BodyTimeout: l.BodyTimeout, RequestsPerMinute: l.RequestsPerMinute, BytesPerMinute: l.BytesPerMinute}
}
