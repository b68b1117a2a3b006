"""Who may see the page: addresses, tokens, sessions, hosts and origins."""

import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.watching.page import access
from a3dcae_jax.watching.page.access import (
  Access,
  Address,
  TooManyTries,
  check_protected,
  parse_address,
  read_token,
)

TOKEN = 'correct-horse-battery'


@pytest.mark.parametrize(
  ('text', 'expected', 'is_loopback'),
  [
    ('8080', ('127.0.0.1', 8080), True),
    ('127.0.0.1:0', ('127.0.0.1', 0), True),
    ('[::1]:8080', ('::1', 8080), True),
    ('0.0.0.0:8080', ('0.0.0.0', 8080), False),
    ('[::]:8080', ('::', 8080), False),
    ('10.0.0.7:65535', ('10.0.0.7', 65535), False),
  ],
)
def test_an_address_is_read(text, expected, is_loopback):
  found = parse_address(text)
  assert found == expected
  assert found.is_loopback == is_loopback


@pytest.mark.parametrize('text', ['', 'x', ':8080', '::1:8080', '8080:', 'a:b', '1:70000', '-1'])
def test_what_is_no_address_is_refused(text):
  with pytest.raises(UserError, match='PORT, HOST:PORT'):
    parse_address(text)


def test_the_token_is_in_a_file_or_the_environment(tmp_path, monkeypatch):
  monkeypatch.delenv('A3DCAE_TOKEN', raising=False)
  assert read_token('') == ''
  monkeypatch.setenv('A3DCAE_TOKEN', TOKEN)
  assert read_token('') == TOKEN
  file = tmp_path / 'token'
  file.write_text('another-token-in-a-file\n')
  assert read_token(str(file)) == 'another-token-in-a-file'
  file.write_text('short\n')
  with pytest.raises(UserError, match='5 characters, but at least 16'):
    read_token(str(file))
  file.write_bytes(b'\xff' * 20)
  with pytest.raises(UserError, match='UTF-8'):
    read_token(str(file))
  with pytest.raises(UserError, match='cannot be read'):
    read_token(str(tmp_path / 'absent'))


def test_an_address_that_others_reach_needs_a_token():
  check_protected(Address('127.0.0.1', 1), '')
  check_protected(Address('::1', 1), '')
  check_protected(Address('0.0.0.0', 1), TOKEN)
  for host in ('0.0.0.0', '::', '10.0.0.7'):
    with pytest.raises(UserError, match='needs a token'):
      check_protected(Address(host, 1), '')


def test_a_session_is_not_the_token_and_can_be_ended():
  gate = Access(TOKEN)
  assert gate.sign_in('wrong', 'a') == ''
  session = gate.sign_in(TOKEN, 'a')
  assert session and TOKEN not in session
  assert session != gate.sign_in(TOKEN, 'a')
  assert gate.is_signed_in(session, '', 'a')
  assert not gate.is_signed_in('', '', 'a')
  assert not gate.is_signed_in(TOKEN, '', 'a')
  assert gate.is_signed_in('', f'Bearer {TOKEN}', 'a')
  assert not gate.is_signed_in('', f'Basic {TOKEN}', 'a')
  gate.sign_out(session)
  assert not gate.is_signed_in(session, '', 'a')


def test_sessions_end_and_are_bounded(monkeypatch):
  gate = Access(TOKEN)
  monkeypatch.setattr(access, 'SESSION_S', -1)
  assert not gate.is_signed_in(gate.sign_in(TOKEN, 'a'), '', 'a')
  monkeypatch.setattr(access, 'SESSION_S', 60)
  monkeypatch.setattr(access, '_SESSIONS', 2)
  first, second, third = (gate.sign_in(TOKEN, 'a') for _ in range(3))
  assert not gate.is_signed_in(first, '', 'a')
  assert gate.is_signed_in(second, '', 'a') and gate.is_signed_in(third, '', 'a')


def test_nobody_can_try_many_tokens(monkeypatch):
  now = [1000.0]
  monkeypatch.setattr(access.time, 'monotonic', lambda: now[0])
  gate = Access(TOKEN)
  for _ in range(access.TRIES_OF_ONE):
    assert gate.sign_in('wrong', '10.0.0.1') == ''
  with pytest.raises(TooManyTries) as error:
    gate.sign_in(TOKEN, '10.0.0.1')  # not even compared
  assert 0 < error.value.wait_s <= access.WINDOW_S
  with pytest.raises(TooManyTries):
    gate.is_signed_in('', f'Bearer {TOKEN}', '10.0.0.1')
  assert gate.sign_in(TOKEN, '10.0.0.2')
  now[0] += access.WINDOW_S
  assert gate.sign_in(TOKEN, '10.0.0.1')


def test_many_addresses_together_cannot_try_many_tokens_either(monkeypatch):
  monkeypatch.setattr(access, '_ADDRESSES', 8)
  gate = Access(TOKEN)
  for index in range(access.TRIES_OF_ALL):
    gate.sign_in('wrong', f'10.0.0.{index}')
  assert len(gate._tries._failed) == 8
  with pytest.raises(TooManyTries):
    gate.sign_in(TOKEN, '10.9.9.9')


def test_addresses_of_one_ipv6_network_count_as_one():
  gate = Access(TOKEN)
  for index in range(access.TRIES_OF_ONE):
    gate.sign_in('wrong', f'2001:db8::{index:x}')
  with pytest.raises(TooManyTries):
    gate.sign_in(TOKEN, '2001:db8::ffff')
  assert gate.sign_in(TOKEN, '2001:db8:0:1::1')


@pytest.mark.parametrize(
  ('host', 'is_right'),
  [
    ('localhost', True),
    ('LocalHost:8080', True),
    ('127.0.0.1:8080', True),
    ('[::1]:8080', True),
    ('127.0.0.2:8080', True),
    ('10.0.0.7:8080', False),
    ('', False),
    ('evil.example', False),
    ('127.0.0.1.evil.example:8080', False),
    ('localhost:80:80', False),
    ('localhost@evil.example', False),
  ],
)
def test_without_a_token_only_names_of_this_machine_are_served(host, is_right):
  assert Access().host_is_right(host) == is_right
  assert Access(TOKEN).host_is_right(host)  # as behind a reverse proxy


@pytest.mark.parametrize(
  ('origin', 'host', 'is_right'),
  [
    (None, 'localhost:8080', True),
    ('http://localhost:8080', 'localhost:8080', True),
    ('https://cameras.example', 'cameras.example', True),
    ('http://localhost:9090', 'localhost:8080', False),
    ('http://evil.example', 'localhost:8080', False),
    ('null', 'localhost:8080', False),
    ('null', '', False),
    ('', '', False),
  ],
)
def test_a_post_must_come_from_the_page(origin, host, is_right):
  assert Access().origin_is_right(origin, host) == is_right
