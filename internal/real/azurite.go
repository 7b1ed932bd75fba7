package real

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/millrun/millrun/internal/loopback"
)

// AzuriteVersion is the version of Azurite, the Blob emulator, that tests run against. It knows the protocol, but neither
// versions nor immutability.
const AzuriteVersion = "3.37.0"

// azuriteKey is the key of the account devstoreaccount1 that every Azurite has: it is public, Microsoft documents it.
const azuriteKey = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

// fetchAzurite fills dir through npm, which checks what it fetches.
func fetchAzurite(ctx context.Context, dir string) error {
	cmd := exec.CommandContext(ctx, "npm", "install", "--prefix", dir, "--no-audit", "--no-fund", "--ignore-scripts",
		"--loglevel=error", "azurite@"+AzuriteVersion)
	return runTool(cmd)
}

// startAzurite starts the Blob service alone, with its data in memory. The check of API versions is off because Azurite
// refuses every version of the protocol newer than itself.
func startAzurite(ctx context.Context, dir string) (*instance, error) {
	home, err := prepared(ctx, "azurite-"+AzuriteVersion, fetchAzurite)
	if err != nil {
		return nil, err
	}
	ports, err := loopback.FreePorts(1)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("node", filepath.Join(home, "node_modules", "azurite", "dist", "src", "blob", "main.js"),
		"--blobHost", "127.0.0.1", "--blobPort", strconv.Itoa(ports[0]), "--inMemoryPersistence",
		"--skipApiVersionCheck", "--silent", "--disableTelemetry")
	cmd.Dir = dir
	p, err := runProgram(PartAzurite.Title(), cmd, filepath.Join(dir, "azurite.log"))
	if err != nil {
		return nil, err
	}
	addr := loopback.Addr(ports[0])
	if err := p.awaitReady(ctx, dialTCP(addr)); err != nil {
		return nil, err
	}
	return &instance{
		endpoint: Endpoint{PID: p.PID(), ConnectionString: azuriteConnection(addr)},
		done:     p.Done(),
		stop:     p.end,
	}, nil
}

func azuriteConnection(addr string) string {
	return fmt.Sprintf("DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=%s;"+
		"BlobEndpoint=http://%s/devstoreaccount1;", azuriteKey, addr)
}

// dialTCP asks whether somebody listens.
func dialTCP(addr string) func(context.Context) error {
	return func(ctx context.Context) error {
		d := net.Dialer{Timeout: time.Second}
		conn, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return fmt.Errorf("real: %w", err)
		}
		return conn.Close()
	}
}
