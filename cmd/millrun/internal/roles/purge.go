package roles

import (
	"context"
	"errors"
	"time"

	"github.com/millrun/millrun/connectors/azblob"
	"github.com/millrun/millrun/internal/clock"
	"github.com/millrun/millrun/internal/config"
)

// purge deletes what is due and writes the ledger. One process a ledger: a second one finds the chain grown and stops.
func (s *Set) purge(ctx context.Context) ([]role, error) {
	st, err := s.doors(ctx)
	if err != nil {
		return nil, err
	}
	named := &claims{kafka: s.kafka(), codec: st.codec}
	ledger, err := azblob.OpenLedger(ctx, st.account, s.ledger())
	if err != nil {
		return nil, err
	}
	p, err := azblob.NewPurger(azblob.PurgerConfig{
		Account: st.account, Archive: st.storage.archive, Staging: st.staging, Analytics: s.Config.Blob.Containers.Analytics, Claimed: named.claimed,
		Ledger: ledger, Clock: s.Clock, Keep: s.retention(), Metrics: st.metrics, Log: s.Log,
	})
	if err != nil {
		return nil, err
	}
	return []role{{name: Purge, run: func(ctx context.Context, ready func()) error {
		ready()
		return p.Run(ctx)
	}}}, nil
}

// purgedRefresh is how often the API looks for new lines of the ledger.
const purgedRefresh = 2 * time.Second

// VerifyCompliance checks the ledger's chain against what the storage really holds. Findings are in the report and
// make it an error.
func VerifyCompliance(ctx context.Context, c *config.Config, clk clock.Clock) (azblob.Report, error) {
	if err := c.Require(config.PartBlob, config.PartHMAC); err != nil {
		return azblob.Report{}, err
	}
	account, err := azblob.Connect(azblob.Options{ConnectionString: c.Blob.ConnectionString, URL: c.Blob.URL})
	if err != nil {
		return azblob.Report{}, err
	}
	defer account.Close()
	archive, err := azblob.OpenArchive(ctx, account, azblob.ArchiveConfig{Container: c.Blob.Containers.Archive, Clock: clk, AllowMutable: c.Blob.AllowMutable})
	if err != nil {
		return azblob.Report{}, err
	}
	ledger := azblob.LedgerConfig{Container: c.Blob.Containers.Ledger, Key: []byte(c.Retention.HMACKey), Clock: clk}
	r, err := azblob.Check(ctx, azblob.CheckConfig{Account: account, Archive: archive, Ledger: ledger, Clock: clk})
	if err != nil {
		return r, err
	}
	for _, p := range r.Problems {
		err = errors.Join(err, errors.New(p))
	}
	return r, err
}
