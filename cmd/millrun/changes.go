package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/millrun/millrun/cmd/millrun/internal/install"
)

// changesCommand publishes order changes.
type changesCommand struct {
	Publish changesPublish `cmd:"" help:"Publish the events of a file, one JSON object a line."`
}

// Help is the example of --help.
func (changesCommand) Help() string {
	return "Example:\n  millrun changes publish --dir .millrun --team sales items.jsonl"
}

// changesPublish sends each line to the topic that the team owns.
type changesPublish struct {
	apiFlags

	Team string `enum:"logistics,sales,checkout,membership" help:"Team under whose credentials the events are published: ${enum}." required:""`
	File string `arg:"" help:"File of JSON lines, or - for standard input."`
}

// Run stops at the first event that is refused and names its line, so that the rest can be sent once it is mended.
func (p *changesPublish) Run(ctx context.Context) error {
	c, err := p.connect(func(i *install.Connection) string { return i.TeamKeys[p.Team] })
	if err != nil {
		return err
	}
	in, err := openInput(p.File)
	if err != nil {
		return err
	}
	return errors.Join(p.publish(ctx, c, in), in.Close())
}

func openInput(path string) (io.ReadCloser, error) {
	if path == "-" {
		return io.NopCloser(os.Stdin), nil
	}
	return os.Open(path)
}

func (p *changesPublish) publish(ctx context.Context, c *client, in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	sent := 0
	for n := 1; lines.Scan(); n++ {
		event := bytes.TrimSpace(lines.Bytes())
		if len(event) == 0 {
			continue
		}
		if _, err := c.post(ctx, "/v1/changes/"+install.TeamTopic(p.Team), "application/json", bytes.NewReader(event)); err != nil {
			return fmt.Errorf("line %d of %s: %w (%d published before it)", n, p.File, err, sent)
		}
		sent++
	}
	if err := lines.Err(); err != nil {
		return err
	}
	fmt.Printf("%d published to %s\n", sent, install.TeamTopic(p.Team))
	return nil
}
