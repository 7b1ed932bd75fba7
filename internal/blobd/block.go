package blobd

import (
	"cmp"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
)

const maxBlockIDBytes = 64

// putBlock is Put Block: bytes that become part of the blob once a block list names them.
func (c *call) putBlock() error {
	k, err := c.theContainer()
	if err != nil {
		return err
	}
	id, err := c.blockID()
	if err != nil {
		return err
	}
	u, err := c.receive(min(c.s.cfg.MaxBlobBytes, maxBlockBytes))
	if err != nil {
		return err
	}
	defer c.s.disk.discard(u.tmp)
	if u.size == 0 {
		return badRequest(codeInvalidHeader, "The value for one of the HTTP headers is not in the correct format: a block has at least one byte.")
	}
	err = c.change(k, true, func(b *blob, st *state) (*state, error) { return nil, c.stage(b, st, id, u) })
	if err != nil {
		return err
	}
	if md5 := c.header("Content-MD5"); md5 != "" {
		c.set("Content-MD5", md5)
	} else {
		c.set("x-ms-content-crc64", base64.StdEncoding.EncodeToString(u.crc))
	}
	c.set("x-ms-request-server-encrypted", "false")
	return c.done(http.StatusCreated)
}

func (c *call) blockID() (string, error) {
	id := c.query.Get("blockid")
	if id == "" {
		return "", badRequest(codeMissingQuery, "A required query parameter was not specified for this request: blockid.")
	}
	raw, err := base64.StdEncoding.DecodeString(id)
	if err != nil || len(raw) == 0 || len(raw) > maxBlockIDBytes {
		return "", badRequest(codeInvalidQuery, "Value for one of the query parameters specified in the request URI is invalid: blockid.")
	}
	return base64.StdEncoding.EncodeToString(raw), nil
}

// stage adds the block to the blob's uncommitted ones. The caller holds the blob's lock.
func (c *call) stage(b *blob, st *state, id string, u *upload) error {
	for other := range b.pending {
		if len(other) != len(id) {
			return badRequest(codeInvalidBlobOrBlock, "The specified blob or block content is invalid: block ids of a blob have the same length.")
		}
		break // all uncommitted ids have one length already
	}
	old := b.pending[id]
	if old == nil && len(b.pending) >= 2*maxBlocks {
		return conflict(codeBlockCount, "The uncommitted block count cannot exceed the maximum limit of 100,000 blocks.")
	}
	raw, err := base64.StdEncoding.DecodeString(id)
	if err != nil {
		return badRequest(codeInvalidQuery, "Value for one of the query parameters specified in the request URI is invalid: blockid.")
	}
	at := c.s.store.stamp(c.now)
	p := &pending{File: blockFile(st.Epoch, at, raw), Size: u.size, Block: id, at: at}
	if err := c.s.store.adopt(b, u.tmp, p.segment); err != nil {
		return err
	}
	if !b.onDisk {
		if err := c.s.store.writeHead(b, st); err != nil {
			return err
		}
	}
	b.pending[id] = p
	if old != nil {
		_ = c.s.disk.root.Remove(b.dir + "/" + old.File) // the next Open removes it otherwise
	}
	return nil
}

// blockRef is one entry of a block list: an id and where to look for it.
type blockRef struct {
	from string // Committed, Uncommitted or Latest
	id   string
}

// readBlockList decodes the body of Put Block List, whose order counts across the three element names.
func (c *call) readBlockList() ([]blockRef, error) {
	dec := xml.NewDecoder(http.MaxBytesReader(c.w, c.r.Body, maxXMLBytes))
	var refs []blockRef
	invalid := badRequest(codeInvalidXML, "The specified XML is not syntactically valid.")
	for depth := 0; ; {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
				return nil, err
			}
			return nil, invalid
		}
		switch t := tok.(type) {
		case xml.StartElement:
			if depth == 0 && t.Name.Local == "BlockList" {
				depth = 1
				continue
			}
			var id string
			if depth != 1 || dec.DecodeElement(&id, &t) != nil {
				return nil, invalid
			}
			refs = append(refs, blockRef{from: t.Name.Local, id: strings.TrimSpace(id)})
		case xml.EndElement:
			depth = 0
		}
		if len(refs) > maxBlocks {
			return nil, badRequest("BlockListTooLong", "The block list may not contain more than 50,000 blocks.")
		}
	}
	return refs, nil
}

// putBlockList is Put Block List: it makes the named blocks, in order, the blob's new current version.
func (c *call) putBlockList() error {
	k, err := c.theContainer()
	if err != nil {
		return err
	}
	nv, err := c.newVersion(k, false)
	if err != nil {
		return err
	}
	refs, err := c.readBlockList()
	if err != nil {
		return err
	}
	err = c.change(k, true, func(b *blob, st *state) (*state, error) {
		if err := c.mayWrite(st); err != nil {
			return nil, err
		}
		if err := nv.assemble(refs, b, st); err != nil {
			return nil, err
		}
		return c.replaceCurrent(k, st, nv, c.s.store.stamp(c.now)), nil
	})
	if err != nil {
		return err
	}
	c.writeVersionHeaders(nv, c.s.versioned(k))
	return c.done(http.StatusCreated)
}

// assemble fills v with the blocks that refs name.
func (v *version) assemble(refs []blockRef, b *blob, st *state) error {
	committed := map[string]segment{}
	if st.Current != nil {
		for _, g := range st.Current.Segments {
			if g.Block != "" {
				committed[g.Block] = g
			}
		}
	}
	v.Segments, v.Size = make([]segment, 0, len(refs)), 0
	for _, r := range refs {
		fresh := b.pending[r.id]
		old, was := committed[r.id]
		switch {
		case (r.from == "Latest" || r.from == "Uncommitted") && fresh != nil:
			v.Segments = append(v.Segments, fresh.segment)
		case (r.from == "Latest" || r.from == "Committed") && was:
			v.Segments = append(v.Segments, old)
		default:
			return badRequest(codeInvalidBlockList, "The specified block list is invalid.")
		}
		v.Size += v.Segments[len(v.Segments)-1].Size
	}
	return nil
}

// getBlockList is Get Block List.
func (c *call) getBlockList() error {
	k, err := c.theContainer()
	if err != nil {
		return err
	}
	kind := strings.ToLower(c.query.Get("blocklisttype"))
	b, st := k.find(c.blob, c.now)
	if st == nil {
		return errBlobNotFound()
	}
	v := st.Current
	if snap := c.query.Get("snapshot"); snap != "" {
		if v, _, err = c.pick(st); err != nil {
			return err
		}
	}
	fresh := b.uncommitted()
	if v == nil && len(fresh) == 0 {
		return errBlobNotFound()
	}
	var x xmlWriter
	x.open("BlockList")
	if kind == "" || kind == "committed" || kind == "all" {
		x.open("CommittedBlocks")
		if v != nil {
			x.blocks(v.Segments)
		}
		x.close("CommittedBlocks")
	}
	if kind == "uncommitted" || kind == "all" {
		x.open("UncommittedBlocks")
		x.blocks(fresh)
		x.close("UncommittedBlocks")
	}
	x.close("BlockList")
	if v != nil {
		c.set("ETag", v.ETag.quoted())
		c.set("Last-Modified", httpTime(v.Modified))
		c.set("x-ms-blob-content-length", decimal(v.Size))
	}
	return c.xml(http.StatusOK, x.bytes())
}

func (x *xmlWriter) blocks(list []segment) {
	for _, g := range list {
		if g.Block == "" {
			continue
		}
		x.open("Block")
		x.leaf("Name", g.Block)
		x.leaf("Size", decimal(g.Size))
		x.close("Block")
	}
}

// uncommitted are the blob's uncommitted blocks by id.
func (b *blob) uncommitted() []segment {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]segment, 0, len(b.pending))
	for _, p := range b.pending {
		out = append(out, p.segment)
	}
	slices.SortFunc(out, func(a, b segment) int { return cmp.Compare(a.Block, b.Block) })
	return out
}
