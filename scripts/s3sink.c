// s3sink: a null S3 server for benchmarks of clients; it costs almost no CPU of its own, so the client is what is measured.
//
// Build:  gcc -O2 -pthread s3sink.c -o s3sink
//         gcc -O2 -pthread -DTLS s3sink.c -o s3sink-tls -lssl -lcrypto      (cert.pem and key.pem in the working directory)
// Run:    DELAY_US=20000 ./s3sink 9100      loopback only; DELAY_US adds latency to every answer; V=1 is verbose;
//                                           SIGUSR1 prints counters on stderr
//
// Not a store: it keeps key -> size, checks no signature and no checksum, lists nothing it was sent. What it was told as
// x-amz-checksum-* with a PUT it says again in the answer, as Amazon S3 does. Buckets named syn-<count>-<size> list <count>
// synthetic keys of <size> bytes; with SYN_ETAG=<32 hex digits> their PUT, copy, HEAD, GET and listing all say that ETag, so that a
// tree of files with that MD5 is found unchanged (also by a client without a journal). SYN_CONTENT=<file> gives the content of every
// GET: the file's bytes over and over. SYN_CRC64NVME=<base64> is the checksum of a whole synthetic object, said to clients that ask for
// checksums, so that a client which proves what it fetches can do so. One object whose key holds "/.s3batch/" or begins with
// ".s3batch/" keeps its content (a client's object manifest) and is listed in its syn bucket. It proves speed, never integrity.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#ifdef TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
static SSL_CTX *ctx;
#endif
#define HB 32768
static int memfd;
static char *memmap;
static const uint64_t PERIOD = 32ull << 20; // of the content, which is in memory twice, so that each piece of it is in one piece
static const uint64_t MEMSZ = 64ull << 20;
static unsigned long n_put, n_get, n_head, n_list, n_del, n_mpu, n_part, n_cmpl, n_copy, n_conn, n_other;
static uint64_t b_in, b_out;
static int verbose, delay_us;
static char syn_etag[40], syn_crc[40];
static pthread_mutex_t own_lock = PTHREAD_MUTEX_INITIALIZER; // the one kept object
static char *own_body, own_bucket[128], own_key[1100];
static size_t own_len;
static char datebuf[64];
static void *clockthr(void *x) {
  for (;;) {
    time_t t = time(0);
    struct tm g;
    gmtime_r(&t, &g);
    strftime(datebuf, 64, "%a, %d %b %Y %H:%M:%S GMT", &g);
    sleep(1);
  }
  return x;
}
// size map
typedef struct ent {
  uint64_t h;
  uint64_t size;
  struct ent *next;
} ent;
#define NB (1 << 20)
static ent *tab[NB];
static pthread_mutex_t lk[256];
static uint64_t hash(const char *s, size_t n) {
  uint64_t h = 1469598103934665603ull;
  for (size_t i = 0; i < n; i++) {
    h ^= (unsigned char)s[i];
    h *= 1099511628211ull;
  }
  return h;
}
static void mset(uint64_t h, uint64_t size, int add) {
  pthread_mutex_t *m = &lk[h & 255];
  pthread_mutex_lock(m);
  ent *e = tab[h & (NB - 1)];
  while (e && e->h != h)
    e = e->next;
  if (!e) {
    e = malloc(sizeof *e);
    e->h = h;
    e->size = 0;
    e->next = tab[h & (NB - 1)];
    tab[h & (NB - 1)] = e;
  }
  if (add)
    e->size += size;
  else
    e->size = size;
  pthread_mutex_unlock(m);
}
static int mget(uint64_t h, uint64_t *size) {
  pthread_mutex_t *m = &lk[h & 255];
  int r = 0;
  pthread_mutex_lock(m);
  ent *e = tab[h & (NB - 1)];
  while (e && e->h != h)
    e = e->next;
  if (e && e->size != UINT64_MAX) {
    *size = e->size;
    r = 1;
  }
  pthread_mutex_unlock(m);
  return r;
}
typedef struct {
  int fd;
#ifdef TLS
  SSL *ssl;
#endif
  char buf[HB];
  size_t len, pos;
  char *scratch;
} conn;
static ssize_t rd(conn *c, void *p, size_t n) {
#ifdef TLS
  int r = SSL_read(c->ssl, p, n > 1 << 30 ? 1 << 30 : n);
  return r <= 0 ? -1 : r;
#else
  ssize_t r;
  do
    r = recv(c->fd, p, n, 0);
  while (r < 0 && errno == EINTR);
  return r;
#endif
}
static int wr(conn *c, const void *p, size_t n) {
  while (n) {
#ifdef TLS
    int r = SSL_write(c->ssl, p, n);
#else
    ssize_t r = send(c->fd, p, n, MSG_NOSIGNAL);
    if (r < 0 && errno == EINTR)
      continue;
#endif
    if (r <= 0)
      return -1;
    p = (char *)p + r;
    n -= r;
  }
  return 0;
}
static int drain(conn *c, uint64_t n) {
  size_t have = c->len - c->pos;
  if (have > n)
    have = n;
  c->pos += have;
  n -= have;
  while (n) {
#ifdef TLS
    if (!c->scratch)
      c->scratch = malloc(1 << 18);
    ssize_t r = rd(c, c->scratch, n > (1 << 18) ? (1 << 18) : n);
#else
    ssize_t r = recv(c->fd, NULL, n > (16 << 20) ? (16 << 20) : n, MSG_TRUNC);
    if (r < 0 && errno == EINTR)
      continue;
#endif
    if (r <= 0)
      return -1;
    n -= r;
  }
  return 0;
}
static int sendbody(conn *c, uint64_t off, uint64_t n) {
  while (n) {
    uint64_t o = off % PERIOD, k = MEMSZ - o;
    if (k > n)
      k = n;
#ifdef TLS
    if (k > (1 << 20))
      k = 1 << 20;
    if (wr(c, memmap + o, k))
      return -1;
    off += k;
    n -= k;
#else
    if (k <= 65536) {
      if (wr(c, memmap + o, k))
        return -1;
      off += k;
      n -= k;
      continue;
    }
    off_t oo = o;
    ssize_t r = sendfile(c->fd, memfd, &oo, k);
    if (r < 0 && errno == EINTR)
      continue;
    if (r <= 0)
      return -1;
    off += r;
    n -= r;
#endif
  }
  return 0;
}
static char *rdline(conn *c) { // one line, from buffer or socket; NUL-terminated
  static __thread char line[4096];
  size_t k = 0;
  for (;;) {
    while (c->pos < c->len) {
      char ch = c->buf[c->pos++];
      if (ch == '\n') {
        if (k && line[k - 1] == '\r')
          k--;
        line[k] = 0;
        return line;
      }
      if (k < sizeof line - 1)
        line[k++] = ch;
    }
    ssize_t r = rd(c, c->buf, HB);
    if (r <= 0)
      return NULL;
    c->pos = 0;
    c->len = r;
  }
}
// a checksum's header line, kept to be said again in the answer
static void keep_sum(char *sums, size_t cap, const char *name, const char *value) {
  size_t n = strlen(sums);
  if (!strncasecmp(name, "x-amz-checksum-", 15) && n + strlen(name) + strlen(value) + 5 < cap)
    snprintf(sums + n, cap - n, "%s: %s\r\n", name, value);
}
static void keep_trailer(char *sums, size_t cap, char *line) {
  char *v = strchr(line, ':');
  if (!v)
    return;
  *v++ = 0;
  while (*v == ' ')
    v++;
  keep_sum(sums, cap, line, v);
}
static int drain_chunked(conn *c, uint64_t *tot, char *sums, size_t cap) {
  for (;;) {
    char *l = rdline(c);
    if (!l)
      return -1;
    uint64_t n = strtoull(l, NULL, 16);
    if (n == 0) {
      do {
        l = rdline(c);
        if (!l)
          return -1;
        keep_trailer(sums, cap, l);
      } while (*l);
      return 0;
    }
    if (drain(c, n))
      return -1;
    *tot += n;
    if (!rdline(c))
      return -1;
  }
}
static int b64v(int c) {
  if (c >= 'A' && c <= 'Z')
    return c - 'A';
  if (c >= 'a' && c <= 'z')
    return c - 'a' + 26;
  if (c >= '0' && c <= '9')
    return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}
static int qget(const char *q, const char *k, char *out, size_t on) {
  size_t kl = strlen(k);
  while (q && *q) {
    if (!strncmp(q, k, kl) && (q[kl] == '=' || q[kl] == '&' || q[kl] == 0)) {
      const char *v = q + kl;
      size_t i = 0;
      if (*v == '=') {
        v++;
        while (*v && *v != '&' && i < on - 1) {
          if (*v == '%' && v[1] && v[2]) {
            char hx[3] = {v[1], v[2], 0};
            out[i++] = strtol(hx, 0, 16);
            v += 3;
          } else if (*v == '+') {
            out[i++] = ' ';
            v++;
          } else
            out[i++] = *v++;
        }
      }
      out[i] = 0;
      return 1;
    }
    q = strchr(q, '&');
    if (q)
      q++;
  }
  return 0;
}
static int reply(conn *c, const char *status, const char *hdrs, const char *body, size_t bl, int head) {
  char h[2048];
  int n = snprintf(h, sizeof h,
                   "HTTP/1.1 %s\r\nServer: sink\r\nx-amz-request-id: 4442587FB7D0A2F9\r\nDate: %s\r\n%sContent-Length: %zu\r\n\r\n", status,
                   datebuf, hdrs, bl);
  if (bl && !head && n + bl < sizeof h) {
    memcpy(h + n, body, bl);
    return wr(c, h, n + bl);
  }
#ifndef TLS
  int cork = bl && !head;
  if (cork) {
    ssize_t r = send(c->fd, h, n, MSG_MORE | MSG_NOSIGNAL);
    if (r != n)
      return -1;
    return wr(c, body, bl);
  }
#endif
  if (wr(c, h, n))
    return -1;
  if (bl && !head)
    return wr(c, body, bl);
  return 0;
}
static int bodyreply(conn *c, const char *status, const char *hdrs, uint64_t off, uint64_t n, int head) {
  char h[70000];
  int k =
      snprintf(h, 4096, "HTTP/1.1 %s\r\nServer: sink\r\nx-amz-request-id: 4442587FB7D0A2F9\r\nDate: %s\r\n%sContent-Length: %llu\r\n\r\n",
               status, datebuf, hdrs, (unsigned long long)n);
  if (head)
    return wr(c, h, k);
  if (n <= 65000) {
    memcpy(h + k, memmap + off % PERIOD, n);
    return wr(c, h, k + n);
  }
#ifndef TLS
  if (send(c->fd, h, k, MSG_MORE | MSG_NOSIGNAL) != k)
    return -1;
#else
  if (wr(c, h, k))
    return -1;
#endif
  return sendbody(c, off, n);
}
static int syn(const char *bucket, size_t bl, long *count, long *size) {
  char b[128];
  if (bl >= sizeof b)
    return 0;
  memcpy(b, bucket, bl);
  b[bl] = 0;
  return sscanf(b, "syn-%ld-%ld", count, size) == 2;
}
static int list(conn *c, const char *bucket, size_t bl, const char *q) {
  n_list++;
  long count = 0, size = 0;
  syn(bucket, bl, &count, &size);
  char tok[1200] = "", mk[64] = "1000", pre[1100] = "", delim[8] = "", sa[1200] = "";
  qget(q, "max-keys", mk, sizeof mk);
  qget(q, "prefix", pre, sizeof pre);
  qget(q, "delimiter", delim, sizeof delim);
  long start = 0;
  if (qget(q, "continuation-token", tok, sizeof tok))
    start = atol(tok);
  else if (qget(q, "marker", sa, sizeof sa) || qget(q, "start-after", sa, sizeof sa)) {
    // "d000/f0000999" and what follows it: the next one; "d000/f000100" and what sorts before "0": that one
    char *f = strstr(sa, "/f"), *g = strstr(sa, "%2Ff");
    if (f || g) {
      char *digits = f ? f + 2 : g + 4;
      int count = strspn(digits, "0123456789");
      if (count >= 7)
        start = atol(digits) + 1;
      else
        for (start = atol(digits); count < 7; count++)
          start *= 10;
    }
  }
  long max = atol(mk);
  if (max > 1000 || max <= 0)
    max = 1000;
  int v2 = strstr(q, "list-type=2") != NULL;
  char loc[256];
  if (bl > 100)
    bl = 100;
  memcpy(loc, bucket, bl);
  loc[bl] = 0;
  size_t cap = 4096 + max * 420;
  char *o = malloc(cap);
  size_t n = 0;
  long end = start + max;
  if (end > count)
    end = count;
  if (*pre && strncmp(pre, "d", strlen(pre) > 1 ? 1 : strlen(pre)))
    end = start;
  n += snprintf(o + n, cap - n,
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult "
                "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>%s</Name><Prefix>%s</Prefix>%s<MaxKeys>%ld</"
                "MaxKeys><EncodingType>url</EncodingType><IsTruncated>%s</IsTruncated>",
                loc, pre, v2 ? "" : "<Marker></Marker>", max, end < count && end > start ? "true" : "false");
  if (v2)
    n += snprintf(o + n, cap - n, "<KeyCount>%ld</KeyCount>", end - start);
  if (end < count && end > start) {
    if (v2)
      n += snprintf(o + n, cap - n, "<NextContinuationToken>%ld</NextContinuationToken>", end);
    else
      n += snprintf(o + n, cap - n, "<NextMarker>d%03ld/f%07ld</NextMarker>", (end - 1) / 1000, end - 1);
  }
  if (!start) {
    pthread_mutex_lock(&own_lock);
    if (own_body && !strcmp(own_bucket, loc) && !strncmp(own_key, pre, strlen(pre)))
      n += snprintf(o + n, cap - n,
                    "<Contents><Key>%s</Key><LastModified>2026-11-01T10:20:30.000Z</LastModified><ETag>&quot;%032zx-1&quot;</ETag><Size>%zu</"
                    "Size><StorageClass>STANDARD</StorageClass></Contents>",
                    own_key, own_len, own_len);
    pthread_mutex_unlock(&own_lock);
  }
  for (long i = start; i < end; i++) {
    char e[40];
    if (*syn_etag)
      strcpy(e, syn_etag);
    else
      sprintf(e, "%032lx", i * 2654435761ul);
    n += snprintf(o + n, cap - n,
                  "<Contents><Key>d%03ld/f%07ld</Key><LastModified>2026-11-01T10:20:30.000Z</LastModified><ETag>&quot;%s&quot;</"
                  "ETag><ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType><Size>%ld</"
                  "Size><StorageClass>STANDARD</StorageClass></Contents>",
                  i / 1000, i, e, size);
  }
  n += snprintf(o + n, cap - n, "</ListBucketResult>");
  int r = reply(c, "200 OK", "Content-Type: application/xml\r\n", o, n, 0);
  free(o);
  return r;
}
static void handle(conn *c) {
  for (;;) { // read head
    char *end;
    if (c->pos) {
      memmove(c->buf, c->buf + c->pos, c->len - c->pos);
      c->len -= c->pos;
      c->pos = 0;
    }
    while (!(end = memmem(c->buf, c->len, "\r\n\r\n", 4))) {
      if (c->len == HB)
        return;
      ssize_t r = rd(c, c->buf + c->len, HB - c->len);
      if (r <= 0)
        return;
      c->len += r;
    }
    size_t hl = end + 4 - c->buf;
    char hd[HB];
    memcpy(hd, c->buf, hl);
    hd[hl - 2] = 0;
    c->pos = hl;
    // headers
    uint64_t cl = 0;
    int chunked = 0, expect = 0, close_ = 0, asks_sums = 0;
    int64_t dec = -1;
    char etag[80];
    if (*syn_etag)
      sprintf(etag, "\"%s\"", syn_etag);
    else
      strcpy(etag, "\"d41d8cd98f00b204e9800998ecf8427e-1\"");
    char range[128] = "", copysrc[1200] = "", sums[512] = "";
    char *l = strstr(hd, "\r\n");
    char *rl_end = l;
    while (l) {
      l += 2;
      char *e = strstr(l, "\r\n");
      if (!e)
        break;
      *e = 0;
      char *v = strchr(l, ':');
      if (v) {
        *v++ = 0;
        while (*v == ' ')
          v++;
        switch (l[0] | 32) {
        case 'c':
          if (!strcasecmp(l, "content-length"))
            cl = strtoull(v, 0, 10);
          else if (!strcasecmp(l, "content-md5")) {
            unsigned char d[18];
            int k = 0;
            unsigned acc = 0, bits = 0;
            for (char *p = v; *p && k < 16; p++) {
              int x = b64v(*p);
              if (x < 0)
                break;
              acc = acc << 6 | x;
              bits += 6;
              if (bits >= 8) {
                bits -= 8;
                d[k++] = acc >> bits;
              }
            }
            if (k == 16) {
              char *t = etag;
              *t++ = '"';
              for (int i = 0; i < 16; i++)
                t += sprintf(t, "%02x", d[i]);
              *t++ = '"';
              *t = 0;
            }
          } else if (!strcasecmp(l, "connection") && !strcasecmp(v, "close"))
            close_ = 1;
          break;
        case 't':
          if (!strcasecmp(l, "transfer-encoding") && strcasestr(v, "chunked"))
            chunked = 1;
          break;
        case 'e':
          if (!strcasecmp(l, "expect"))
            expect = 1;
          break;
        case 'r':
          if (!strcasecmp(l, "range"))
            snprintf(range, sizeof range, "%s", v);
          break;
        case 'x':
          if (!strcasecmp(l, "x-amz-decoded-content-length"))
            dec = strtoll(v, 0, 10);
          else if (!strcasecmp(l, "x-amz-checksum-mode"))
            asks_sums = 1;
          else if (!strcasecmp(l, "x-amz-copy-source"))
            snprintf(copysrc, sizeof copysrc, "%s", v);
          else
            keep_sum(sums, sizeof sums, l, v);
          break;
        }
      }
      l = e;
    }
    *rl_end = 0;
    char *sp = strchr(hd, ' ');
    if (!sp)
      return;
    *sp = 0;
    char *path = sp + 1;
    char *sp2 = strrchr(path, ' ');
    if (!sp2)
      return;
    *sp2 = 0;
    char *q = strchr(path, '?');
    if (q)
      *q++ = 0;
    else
      q = "";
    const char *bucket = path + 1;
    const char *slash = strchr(bucket, '/');
    size_t bl = slash ? (size_t)(slash - bucket) : strlen(bucket);
    const char *key = slash ? slash + 1 : "";
    uint64_t h = hash(path, strlen(path));
    if (expect) {
      static const char s[] = "HTTP/1.1 100 Continue\r\n\r\n";
      if (c->len - c->pos < cl || chunked)
        if (wr(c, s, sizeof s - 1))
          return;
    }
    uint64_t blen = cl;
    int own = *key && (strstr(key, "/.s3batch/") || !strncmp(key, ".s3batch/", 9));
    if (own && !strcmp(hd, "PUT") && cl && !chunked && cl < (256u << 20)) {
      char *b = malloc(cl);
      size_t have = c->len - c->pos;
      if (have > cl)
        have = cl;
      memcpy(b, c->buf + c->pos, have);
      c->pos += have;
      while (have < cl) {
        ssize_t r = rd(c, b + have, cl - have);
        if (r <= 0)
          return;
        have += r;
      }
      pthread_mutex_lock(&own_lock);
      own_body = b; // the former one is leaked on purpose: a reader may hold it
      own_len = cl;
      snprintf(own_bucket, sizeof own_bucket, "%.*s", (int)bl, bucket);
      snprintf(own_key, sizeof own_key, "%s", key);
      pthread_mutex_unlock(&own_lock);
      sprintf(etag, "\"%032zx-1\"", own_len);
    } else if (chunked) {
      blen = 0;
      if (drain_chunked(c, &blen, sums, sizeof sums))
        return;
    } else if (cl && drain(c, cl))
      return;
    __atomic_fetch_add(&b_in, blen, __ATOMIC_RELAXED);
    uint64_t osz = dec >= 0 ? (uint64_t)dec : blen;
    char H[1024];
    char t[64];
    if (delay_us) {
      struct timespec ts = {delay_us / 1000000, (delay_us % 1000000) * 1000L};
      nanosleep(&ts, 0);
    }
    if (verbose)
      fprintf(stderr, "%s %s?%s cl=%llu chunked=%d expect=%d range=%s\n", hd, path, q, (unsigned long long)cl, chunked, expect, range);
    int r = 0;
    if (!strcmp(hd, "PUT")) {
      if (!*key) {
        r = reply(c, "200 OK", "", "", 0, 0);
      } else if (qget(q, "partNumber", t, sizeof t)) {
        __atomic_fetch_add(&n_part, 1, 0);
        mset(h, osz, 1);
        snprintf(H, sizeof H, "ETag: %s\r\n%s", etag, sums);
        r = reply(c, "200 OK", H, "", 0, 0);
      } else if (*copysrc) {
        __atomic_fetch_add(&n_copy, 1, 0);
        char X[600];
        snprintf(X, sizeof X,
                 "<?xml version=\"1.0\" encoding=\"UTF-8\"?><CopyObjectResult "
                 "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><LastModified>2026-11-01T10:20:30.000Z</LastModified>"
                 "<ETag>&quot;%s&quot;</ETag></CopyObjectResult>",
                 *syn_etag ? syn_etag : "d41d8cd98f00b204e9800998ecf8427e");
        long count, size;
        char *from = copysrc + (*copysrc == '/');
        if (syn(from, strcspn(from, "/%"), &count, &size))
          mset(h, size, 0);
        r = reply(c, "200 OK", "Content-Type: application/xml\r\n", X, strlen(X), 0);
      } else {
        __atomic_fetch_add(&n_put, 1, 0);
        mset(h, osz, 0);
        snprintf(H, sizeof H, "ETag: %s\r\n%s", etag, sums);
        r = reply(c, "200 OK", H, "", 0, 0);
      }
    } else if (!strcmp(hd, "POST")) {
      char X[2048];
      if (qget(q, "uploads", t, sizeof t)) {
        __atomic_fetch_add(&n_mpu, 1, 0);
        mset(h, 0, 0);
        snprintf(X, sizeof X,
                 "<?xml version=\"1.0\" encoding=\"UTF-8\"?><InitiateMultipartUploadResult "
                 "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Bucket>%.*s</Bucket><Key>%.900s</Key><UploadId>VXBsb2FkSUQ%lx</"
                 "UploadId></InitiateMultipartUploadResult>",
                 (int)bl, bucket, key, n_mpu);
        r = reply(c, "200 OK", "Content-Type: application/xml\r\n", X, strlen(X), 0);
      } else if (qget(q, "uploadId", t, sizeof t)) {
        __atomic_fetch_add(&n_cmpl, 1, 0);
        snprintf(X, sizeof X,
                 "<?xml version=\"1.0\" encoding=\"UTF-8\"?><CompleteMultipartUploadResult "
                 "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Location>http://127.0.0.1/x</Location><Bucket>%.*s</"
                 "Bucket><Key>%.900s</Key><ETag>&quot;3858f62230ac3c915f300c664312c11f-9&quot;</ETag></CompleteMultipartUploadResult>",
                 (int)bl, bucket, key);
        r = reply(c, "200 OK", "Content-Type: application/xml\r\n", X, strlen(X), 0);
      } else {
        __atomic_fetch_add(&n_del, 1, 0);
        const char *x =
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><DeleteResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"></DeleteResult>";
        r = reply(c, "200 OK", "Content-Type: application/xml\r\n", x, strlen(x), 0);
      }
    } else if (!strcmp(hd, "DELETE")) {
      __atomic_fetch_add(&n_del, 1, 0);
      r = reply(c, "204 No Content", "", "", 0, 1);
    } else if (!strcmp(hd, "GET") || !strcmp(hd, "HEAD")) {
      int head = hd[0] == 'H';
      if (!*key) {
        if (bl == 0) {
          const char *x = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListAllMyBucketsResult><Buckets></Buckets></ListAllMyBucketsResult>";
          r = reply(c, "200 OK", "Content-Type: application/xml\r\n", x, strlen(x), head);
        } else if (head)
          r = reply(c, "200 OK", "x-amz-bucket-region: us-east-1\r\n", "", 0, 1);
        else if (qget(q, "location", t, sizeof t)) {
          const char *x = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><LocationConstraint "
                          "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"></LocationConstraint>";
          r = reply(c, "200 OK", "Content-Type: application/xml\r\n", x, strlen(x), 0);
        } else if (qget(q, "uploads", t, sizeof t)) {
          const char *x = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListMultipartUploadsResult "
                          "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>";
          r = reply(c, "200 OK", "Content-Type: application/xml\r\n", x, strlen(x), 0);
        } else
          r = list(c, bucket, bl, q);
      } else {
        long cnt, size;
        uint64_t sz;
        int ok = 1;
        pthread_mutex_lock(&own_lock);
        char *mine = own && own_body && !strcmp(own_key, key) ? own_body : NULL;
        size_t mine_len = own_len;
        pthread_mutex_unlock(&own_lock);
        if (mine) {
          __atomic_fetch_add(head ? &n_head : &n_get, 1, 0);
          snprintf(H, sizeof H, "ETag: \"%032zx-1\"\r\nLast-Modified: Sun, 01 Nov 2026 10:20:30 GMT\r\nContent-Type: application/gzip\r\n", mine_len);
          if (reply(c, "200 OK", H, mine, mine_len, head))
            return;
          continue;
        }
        if (own)
          ok = 0;
        else if (syn(bucket, bl, &cnt, &size))
          sz = size;
        else
          ok = mget(h, &sz);
        __atomic_fetch_add(head ? &n_head : &n_get, 1, 0);
        if (!ok) {
          const char *x = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>NoSuchKey</Code><Message>The specified key does not "
                          "exist.</Message></Error>";
          r = reply(c, "404 Not Found", "Content-Type: application/xml\r\n", x, head ? 0 : strlen(x), head);
        } else {
          uint64_t a = 0, b = sz ? sz - 1 : 0;
          int part = 0;
          if (*range && !strncmp(range, "bytes=", 6) && sz) {
            char *p = range + 6;
            char *d = strchr(p, '-');
            if (d) {
              if (p == d) {
                uint64_t n = strtoull(d + 1, 0, 10);
                a = n < sz ? sz - n : 0;
              } else {
                a = strtoull(p, 0, 10);
                if (d[1]) {
                  b = strtoull(d + 1, 0, 10);
                  if (b >= sz)
                    b = sz - 1;
                }
              }
              part = 1;
            }
          }
          uint64_t n = sz ? b - a + 1 : 0;
          if (part && a >= sz) {
            r = reply(c, "416 Requested Range Not Satisfiable", "", "", 0, 1);
          } else {
            char e[80];
            if (*syn_etag)
              strcpy(e, etag);
            else
              sprintf(e, "\"%032llx-1\"", (unsigned long long)h);
            int k = snprintf(H, sizeof H,
                             "ETag: %s\r\nLast-Modified: Sun, 01 Nov 2026 10:20:30 GMT\r\nAccept-Ranges: bytes\r\nContent-Type: "
                             "application/octet-stream\r\n",
                             e);
            if (*syn_crc && asks_sums && !part && syn(bucket, bl, &cnt, &size))
              k += snprintf(H + k, sizeof H - k, "x-amz-checksum-crc64nvme: %s\r\nx-amz-checksum-type: FULL_OBJECT\r\n", syn_crc);
            if (part)
              snprintf(H + k, sizeof H - k, "Content-Range: bytes %llu-%llu/%llu\r\n", (unsigned long long)a, (unsigned long long)b,
                       (unsigned long long)sz);
            if (!head)
              __atomic_fetch_add(&b_out, n, 0);
            r = bodyreply(c, part ? "206 Partial Content" : "200 OK", H, a, n, head);
          }
        }
      }
    } else {
      n_other++;
      r = reply(c, "405 Method Not Allowed", "", "", 0, 1);
    }
    if (r || close_)
      return;
  }
}
static void *thr(void *p) {
  conn *c = p;
  int one = 1;
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
#ifdef TLS
  c->ssl = SSL_new(ctx);
  SSL_set_fd(c->ssl, c->fd);
  if (SSL_accept(c->ssl) == 1)
    handle(c);
  else if (verbose)
    ERR_print_errors_fp(stderr);
  SSL_free(c->ssl);
#else
  handle(c);
#endif
  close(c->fd);
  free(c->scratch);
  free(c);
  return 0;
}
static void stats(int s) {
  (void)s;
  struct rusage r;
  getrusage(RUSAGE_SELF, &r);
  char b[600];
  int n = snprintf(b, sizeof b,
                   "conn=%lu put=%lu mpu=%lu part=%lu cmpl=%lu copy=%lu get=%lu head=%lu list=%lu del=%lu other=%lu in=%llu out=%llu "
                   "cpu_user=%.3f cpu_sys=%.3f\n",
                   n_conn, n_put, n_mpu, n_part, n_cmpl, n_copy, n_get, n_head, n_list, n_del, n_other, (unsigned long long)b_in,
                   (unsigned long long)b_out, r.ru_utime.tv_sec + r.ru_utime.tv_usec / 1e6, r.ru_stime.tv_sec + r.ru_stime.tv_usec / 1e6);
  if (write(2, b, n) < 0) {
  }
}
static int fill_memory(const char *name) { // with the bytes of a file, over and over
  FILE *file = fopen(name, "rb");
  uint64_t n = file ? fread(memmap, 1, PERIOD, file) : 0;
  if (file)
    fclose(file);
  for (uint64_t at = n; n && at < PERIOD; at++)
    memmap[at] = memmap[at - n];
  return n > 0;
}
int main(int ac, char **av) {
  int port = ac > 1 ? atoi(av[1]) : 9100;
  if (getenv("V"))
    verbose = 1;
  if (getenv("DELAY_US"))
    delay_us = atoi(getenv("DELAY_US"));
  if (getenv("SYN_ETAG"))
    snprintf(syn_etag, sizeof syn_etag, "%s", getenv("SYN_ETAG"));
  if (getenv("SYN_CRC64NVME"))
    snprintf(syn_crc, sizeof syn_crc, "%s", getenv("SYN_CRC64NVME"));
  signal(SIGPIPE, SIG_IGN);
  struct sigaction sa = {.sa_handler = stats, .sa_flags = SA_RESTART};
  sigaction(SIGUSR1, &sa, 0);
  for (int i = 0; i < 256; i++)
    pthread_mutex_init(&lk[i], 0);
#ifdef TLS
  ctx = SSL_CTX_new(TLS_server_method());
  if (SSL_CTX_use_certificate_chain_file(ctx, "cert.pem") != 1 || SSL_CTX_use_PrivateKey_file(ctx, "key.pem", SSL_FILETYPE_PEM) != 1) {
    ERR_print_errors_fp(stderr);
    return 1;
  }
  SSL_CTX_set_mode(ctx, SSL_MODE_AUTO_RETRY);
  SSL_CTX_set_read_ahead(ctx, 1);
  SSL_CTX_set_options(ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
#endif
  memfd = memfd_create("d", 0);
  if (ftruncate(memfd, MEMSZ))
    return 1;
  memmap = mmap(0, MEMSZ, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
  uint64_t x = 88172645463325252ull;
  for (uint64_t i = 0; i < PERIOD / 8; i++) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    ((uint64_t *)memmap)[i] = x;
  }
  if (getenv("SYN_CONTENT") && !fill_memory(getenv("SYN_CONTENT"))) {
    perror(getenv("SYN_CONTENT"));
    return 1;
  }
  memcpy(memmap + PERIOD, memmap, MEMSZ - PERIOD);
  int s = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(s, (void *)&a, sizeof a) || listen(s, 4096)) {
    perror("bind");
    return 1;
  }
  pthread_t ck;
  pthread_create(&ck, 0, clockthr, 0);
  pthread_attr_t at;
  pthread_attr_init(&at);
  pthread_attr_setdetachstate(&at, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&at, 512 * 1024);
  for (;;) {
    int fd = accept(s, 0, 0);
    if (fd < 0)
      continue;
    n_conn++;
    conn *c = calloc(1, sizeof *c);
    c->fd = fd;
    pthread_t t;
    if (pthread_create(&t, &at, thr, c)) {
      close(fd);
      free(c);
    }
  }
}
